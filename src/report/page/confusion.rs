//! The confusion matrix, with its classes in several orders.

use std::fmt::Write as _;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use serde_json::json;

use super::colour::{INK, MUTED};
use super::figure::{Area, Drawn, Figure, LINE, SIDE, TEXT, WIDTH, add, draw, letters, shortened};
use super::heat::{Grid, SMALL, STRIP, Scale, round};
use super::html::{Table, escape};
use super::runs::Group;
use super::say::percent;
use crate::Result;

/// Most classes whose names stand beside the matrix.
const NAMED: usize = 20;
/// Most letters of a name there.
const LETTERS: usize = 14;
/// Most confusions that the table tells.
const TOLD: usize = 40;
/// Orders of classes, the first of which is shown first.
const ORDERS: [&str; 3] = ["as they were learned, task by task", "by accuracy, the worst first", "by name"];
/// Shares of the images of a class where levels begin; below the first all that is above nothing.
const SHARES: Scale = Scale { bounds: [0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8] };

/// The images of all runs of a group.
pub(super) struct Confusion<'a> {
    classes: &'a [String],
    /// `[true][predicted]`.
    counts: Vec<Vec<u64>>,
    /// The task of every class, where that is known.
    tasks: Vec<Option<usize>>,
}

impl<'a> Confusion<'a> {
    /// Sums over the runs of a group that have seen as many classes as the first.
    pub fn of(group: &'a Group) -> Self {
        let first = group.first();
        let mut counts = first.measured.metrics.confusion.clone();
        for run in group.runs.iter().skip(1) {
            let own = &run.results.measured.metrics.confusion;
            if own.len() == counts.len() {
                let cells = counts.iter_mut().flatten().zip(own.iter().flatten());
                cells.for_each(|(sum, n)| *sum = sum.saturating_add(*n));
            }
        }
        let tasks = (0..counts.len()).map(|class| group.task_of(class)).collect();
        Self { classes: &first.classes[..counts.len()], counts, tasks }
    }

    fn images(&self, class: usize) -> u64 {
        self.counts[class].iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    fn share(&self, truth: usize, predicted: usize) -> f64 {
        self.counts[truth][predicted] as f64 / self.images(truth).max(1) as f64
    }

    /// Classes in each of [`ORDERS`].
    fn orders(&self) -> [Vec<usize>; ORDERS.len()] {
        let learned: Vec<usize> = (0..self.counts.len()).collect();
        let (mut worst, mut named) = (learned.clone(), learned.clone());
        // Classes that no image was judged of are last.
        let unjudged = |class: usize| self.images(class) == 0;
        worst.sort_by(|&a, &b| unjudged(a).cmp(&unjudged(b)).then(self.share(a, a).total_cmp(&self.share(b, b))));
        named.sort_by_key(|&class| &self.classes[class]);
        [learned, worst, named]
    }

    /// The figure, or none where there is no class.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] where it cannot be drawn.
    pub fn figure(&self, of: usize) -> Result<Option<Figure>> {
        let n = self.counts.len();
        if n == 0 {
            return Ok(None);
        }
        let named = n <= NAMED;
        let (left, above) = if named { (200.0, 180.0) } else { (56.0, 36.0) };
        let top = f64::from(LINE + STRIP) + above;
        let cell = ((f64::from(WIDTH as i32 - SIDE) - left) / n as f64).min(64.0);
        let grid = Grid { left, top, cell };
        let size = (WIDTH, (top + n as f64 * cell) as u32 + SIDE as u32);
        let (mut svg, ()) = draw(size, drawn)?;
        let orders = self.orders();
        for (i, order) in orders.iter().enumerate() {
            let hidden = if i == 0 { "" } else { " display=\"none\"" };
            let names = if named { self.names(&grid, order) } else { String::new() };
            let tasks = if i == 0 && !named { self.bounds(&grid) } else { String::new() };
            let cells = self.cells(&grid, order);
            add(&mut svg, &format!("<g class=\"order\"{hidden}>\n{cells}{tasks}{names}</g>\n"));
        }
        let sparse = |row: &Vec<u64>| -> Vec<u64> {
            row.iter().enumerate().filter(|(_, n)| **n > 0).flat_map(|(c, n)| [c as u64, *n]).collect()
        };
        let found = json!({
            "grid": [grid.left, grid.top, grid.cell],
            "names": self.classes,
            "tasks": self.tasks,
            "counts": self.counts.iter().map(sparse).collect::<Vec<_>>(),
            "orders": orders,
        });
        let label = "Confusion matrix: true classes down, predicted classes across".into();
        Ok(Some(Figure { of: Some(of), label, size, svg, found, orders: ORDERS.to_vec(), table: self.table() }))
    }

    fn cells(&self, grid: &Grid, order: &[usize]) -> String {
        let cell = |r: usize, c: usize| {
            let (truth, predicted) = (order[r], order[c]);
            let n = self.counts[truth][predicted];
            (n > 0).then(|| (r, c, SHARES.level(self.share(truth, predicted)), n))
        };
        let places = || (0..order.len()).flat_map(|r| (0..order.len()).map(move |c| (r, c)));
        let cells = || places().filter_map(|(r, c)| cell(r, c));
        let mut out = grid.paths(cells().map(|(r, c, level, _)| (r, c, level)));
        if order.len() <= NAMED && grid.cell >= 30.0 {
            out.extend(cells().map(|(r, c, level, n)| grid.number(r, c, level, &n.to_string())));
        }
        out
    }

    /// The names of classes beside their rows and above their columns.
    fn names(&self, grid: &Grid, order: &[usize]) -> String {
        let mut out = String::new();
        let style = format!("font-family=\"sans-serif\" font-size=\"{SMALL}\" fill=\"{}\"", INK.hex());
        for (i, &class) in order.iter().enumerate() {
            let name = escape(&shortened(&self.classes[class], LETTERS));
            let middle = (i as f64 + 0.5) * grid.cell;
            let (x, y) = (round(grid.left - 10.0), round(grid.top + middle));
            let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" dy=\"0.35em\" text-anchor=\"end\" {style}>{name}</text>");
            let (x, y) = (round(grid.left + middle), round(grid.top - 10.0));
            let turned = format!("transform=\"rotate(-60 {x} {y})\"");
            let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" {turned} {style}>{name}</text>");
        }
        out
    }

    /// Lines between the classes of one task and those of the next, and the numbers of tasks.
    fn bounds(&self, grid: &Grid) -> String {
        let (n, mut out, mut from) = (self.tasks.len(), String::new(), 0);
        let long = round(n as f64 * grid.cell);
        for (i, task) in self.tasks.iter().enumerate() {
            if i + 1 < n && self.tasks[i + 1] == *task {
                continue;
            }
            let [from_at, at] = [from, i + 1].map(|i| i as f64 * grid.cell);
            if i + 1 < n {
                let (x, y) = (round(grid.left + at), round(grid.top + at));
                let (left, top) = (round(grid.left), round(grid.top));
                let (colour, d) = (MUTED.hex(), format!("M{x} {top}v{long}M{left} {y}h{long}"));
                let _ = writeln!(
                    out,
                    "<path fill=\"none\" stroke=\"{colour}\" stroke-width=\"1\" opacity=\"0.6\" d=\"{d}\"/>"
                );
            }
            if let (Some(task), true) = (task, at - from_at >= SMALL) {
                let middle = (from_at + at) / 2.0;
                let style = format!("font-family=\"sans-serif\" font-size=\"{SMALL}\" fill=\"{}\"", INK.hex());
                let (x, y) = (round(grid.left - 10.0), round(grid.top + middle));
                let _ =
                    writeln!(out, "<text x=\"{x}\" y=\"{y}\" dy=\"0.35em\" text-anchor=\"end\" {style}>{task}</text>");
                let (x, y) = (round(grid.left + middle), round(grid.top - 10.0));
                let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" {style}>{task}</text>");
            }
            from = i + 1;
        }
        out
    }

    /// What was taken for what most often.
    fn table(&self) -> Table {
        let n = self.counts.len();
        let mut pairs: Vec<(usize, usize)> = (0..n).flat_map(|r| (0..n).map(move |c| (r, c))).collect();
        pairs.retain(|&(r, c)| r != c && self.counts[r][c] > 0);
        pairs.sort_by_key(|&(r, c)| std::cmp::Reverse(self.counts[r][c]));
        let row = |&(r, c): &(usize, usize)| {
            let [truth, taken] = [r, c].map(|class| self.classes[class].clone());
            vec![truth, taken, format!("{} of {}", self.counts[r][c], self.images(r)), percent(self.share(r, c))]
        };
        let rows = pairs.iter().take(TOLD).map(row).collect();
        Table { rows, ..Table::of(&["class", "taken for", "images", "share"]) }
    }
}

fn drawn(area: &Area<'_>) -> Drawn {
    let told = "down: true class; across: taken for; share of its images";
    area.draw(&Text::new(told, (SIDE, LINE / 2), letters(TEXT, MUTED, HPos::Left, VPos::Center)))?;
    SHARES.drawn(area, LINE + 4, |x| format!("{:.0} %", 100.0 * x))
}
