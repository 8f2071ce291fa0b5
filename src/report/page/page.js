// Numbers of figures by pointer and arrow keys, orders of classes, choice of settings, figures as files.
(() => {
  'use strict';
  const tip = document.getElementById('tip');
  const SVG = 'http://www.w3.org/2000/svg';
  // Closes what is shown.
  let close = null;

  // What there is to find in a figure: places [x, y, width, height, () => text] in its units; points have no width.
  const places = (found, order) => {
    if (found.marks) {
      return found.marks.map(m => m.length > 3 ? [m[0], m[1], m[2], m[3], () => m[4]] : [m[0], m[1], 0, 0, () => m[2]]);
    }
    const all = [];
    if (found.panels) {
      for (const [left, top, cell, name, values] of found.panels) {
        values.forEach((row, r) => row.forEach((value, c) => {
          const text = () => `${name ? name + ', ' : ''}${found.rows} ${r}, ${found.cols} ${c}: ${value}`;
          if (value !== null) all.push([left + c * cell, top + r * cell, cell, cell, text]);
        }));
      }
      return all;
    }
    const [left, top, cell] = found.grid, classes = found.orders[order];
    const name = k => found.names[k] + (found.tasks[k] === null ? '' : ` (task ${found.tasks[k]})`);
    classes.forEach((truth, r) => {
      const row = new Map(), pairs = found.counts[truth];
      let images = 0;
      for (let i = 0; i < pairs.length; i += 2) { row.set(pairs[i], pairs[i + 1]); images += pairs[i + 1]; }
      classes.forEach((taken, c) => all.push([left + c * cell, top + r * cell, cell, cell, () => {
        const n = row.get(taken) || 0, share = images ? (100 * n / images).toFixed(2) : '0.00';
        const what = truth === taken ? `${name(truth)}, right` : `${name(truth)}, taken for ${name(taken)}`;
        return `${what}: ${n} of ${images} (${share} %)`;
      }]));
    });
    return all;
  };

  const middle = p => [p[0] + p[2] / 2, p[1] + p[3] / 2];
  // How far a place is from a point, 0 inside of it.
  const away = (p, x, y) => Math.hypot(Math.max(p[0] - x, 0, x - p[0] - p[2]), Math.max(p[1] - y, 0, y - p[1] - p[3]));
  const least = (all, cost) => all.reduce((best, p) => { const c = cost(p); return c < best[1] ? [p, c] : best; }, [null, Infinity])[0];

  for (const figure of document.querySelectorAll('figure')) {
    const svg = figure.querySelector('svg'), source = figure.querySelector('script');
    const orders = figure.querySelector('.orders');
    let all = null, at = null, cursor = null;
    const load = () => all ??= places(JSON.parse(source.textContent), orders ? orders.selectedIndex : 0);
    const leave = () => { at = null; cursor?.remove(); cursor = null; tip.hidden = true; close = null; };
    const show = place => {
      if (place === at) return;
      close?.();
      at = place;
      if (!at) return;
      close = leave;
      const [x, y] = middle(at), bar = at[2] > 0;
      cursor = document.createElementNS(SVG, bar ? 'rect' : 'circle');
      const shape = bar ? { x: at[0], y: at[1], width: at[2], height: at[3] } : { cx: x, cy: y, r: 14 };
      for (const key in shape) cursor.setAttribute(key, shape[key]);
      cursor.setAttribute('class', 'cursor');
      svg.append(cursor);
      tip.textContent = at[4]();
      tip.hidden = false;
      const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
      const left = box.left + x * scale - tip.offsetWidth / 2, above = box.top + at[1] * scale - tip.offsetHeight - 12;
      tip.style.left = Math.max(4, Math.min(left, document.documentElement.clientWidth - tip.offsetWidth - 4)) + 'px';
      tip.style.top = (above > 4 ? above : box.top + (at[1] + at[3]) * scale + 12) + 'px';
    };
    const point = event => {
      const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
      const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
      const nearest = least(load(), p => away(p, x, y));
      show(nearest && away(nearest, x, y) < 40 ? nearest : null);
    };
    svg.addEventListener('pointermove', point);
    svg.addEventListener('pointerdown', point);
    // A finger leaves at once, and what it found stays.
    svg.addEventListener('pointerleave', event => { if (event.pointerType === 'mouse') leave(); });
    svg.addEventListener('blur', leave);
    svg.setAttribute('tabindex', '0');
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    svg.addEventListener('keydown', event => {
      if (event.key === 'Escape') leave();
      const way = ways[event.key];
      if (!way) return;
      event.preventDefault();
      if (!at) return show(load()[0]);
      const [x, y] = middle(at), steps = way[0] ? 0 : 1;
      show(least(load(), p => {
        const d = middle(p).map((v, i) => v - [x, y][i]), on = d[steps] * way[steps];
        return on > 0.5 ? on + 3 * Math.abs(d[1 - steps]) : Infinity;
      }) || at);
    });
    orders?.addEventListener('change', () => {
      leave();
      all = null;
      svg.querySelectorAll('.order').forEach((g, i) => i === orders.selectedIndex ? g.removeAttribute('display') : g.setAttribute('display', 'none'));
    });
    const save = document.createElement('button');
    save.type = 'button';
    save.textContent = 'Save SVG';
    save.setAttribute('aria-label', 'Save as SVG: ' + svg.getAttribute('aria-label'));
    save.addEventListener('click', () => {
      leave();
      const link = document.createElement('a');
      link.href = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(svg)], { type: 'image/svg+xml' }));
      link.download = figure.closest('section').id + '.svg';
      link.click();
      URL.revokeObjectURL(link.href);
    });
    figure.querySelector('.foot').append(save);
  }

  const group = document.getElementById('group');
  const choose = () => document.querySelectorAll('main section').forEach(section => {
    const figures = [...section.querySelectorAll('figure')];
    for (const figure of figures) {
      figure.hidden = group.value !== '' && 'group' in figure.dataset && figure.dataset.group !== group.value;
    }
    section.classList.toggle('wide', figures.filter(figure => !figure.hidden).length > 1);
  });
  group?.addEventListener('change', choose);
  if (group) choose();
  document.querySelectorAll('.scripted').forEach(element => { element.hidden = false; });
  addEventListener('scroll', () => close?.(), { passive: true });
})();
