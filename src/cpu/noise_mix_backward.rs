//! Twin of `noise_mix_backward`: tiles of token rows that stay in cache through the whole layer.

use std::ops::Range;

use rayon::prelude::*;

use super::activation::{gelu, gelu_grad};
use super::noise_mix::{JOB, TILE, multiply};
use super::{SharedMut, philox};
use crate::device::{Io, Out, Real};
use crate::kernels::noise::Noise;
use crate::kernels::noise_mix_backward::{NoiseMixBackward, operand_cols};

/// Buffers of one job: h, dz and dh of all its rows, the others for one tile.
struct Scratch<R> {
    h: Vec<R>,
    dz: Vec<R>,
    dh: Vec<R>,
    dz_eps: Vec<R>,
    /// u, then g.
    g: Vec<R>,
    /// dg, then du.
    dg: Vec<R>,
    /// Sums of every column, for the gradient of omega.
    columns: Vec<R>,
    unpadded: Vec<R>,
}

/// Outputs for the newest module.
#[derive(Clone, Copy)]
struct Newest<'a, R> {
    operands: SharedMut<'a, R>,
    domega: SharedMut<'a, R>,
}

/// Turns u into g = gelu(u + bias) and dg into du = omega dg gelu'(u), and adds g dg to `columns`.
fn through_gelu<R: Real>(u: &mut [R], dg: &mut [R], bias: &[R], columns: &mut [R], width: usize, omega: R) {
    super::vectorise(
        #[inline(always)]
        || {
            let (bias, columns, ld) = (&bias[..width], &mut columns[..width], bias.len());
            for (u, dg) in u.chunks_mut(ld).zip(dg.chunks_mut(ld)) {
                let (u, dg) = (&mut u[..width], &mut dg[..width]);
                for j in 0..width {
                    let x = u[j] + bias[j];
                    let g = gelu(x);
                    columns[j] += g * dg[j];
                    dg[j] *= omega * gelu_grad(x);
                    u[j] = g;
                }
            }
        },
    );
}

/// `columns[j] += sum over rows of a[row][j] b[row][j]`, `b` may be one row.
fn add_products<R: Real>(columns: &mut [R], a: &[R], b: &[R]) {
    super::vectorise(
        #[inline(always)]
        || {
            let e = columns.len();
            for (i, a) in a.chunks(e).enumerate() {
                let b = if b.len() == e { b } else { &b[i * e..][..e] };
                for j in 0..e {
                    columns[j] += a[j] * b[j];
                }
            }
        },
    );
}

pub fn noise_mix_backward<R: Real>(k: &NoiseMixBackward<'_>, io: Io<'_, R>) {
    let (x, proj, phi, omega, dy) = (io.real(0), io.real(1), io.real(2), io.real(3), io.real(4));
    let mut outs = io.outs.into_iter().map(|o| match o {
        Out::Real(x) => x,
        Out::U32(_) => unreachable!("noise_mix_backward writes reals"),
    });
    let dx = outs.next().expect("dx");
    let newest = outs.next().zip(outs.next()).map(|(operands, domega)| {
        // A GPU's groups are not larger than these tiles: there are rows enough, and some stay zero.
        domega.fill(R::of(0.0));
        Newest { operands: SharedMut::new(operands), domega: SharedMut::new(domega) }
    });
    let (d1, e) = (k.x.cols(), k.layout.e);
    let (down, up) = proj.split_at(d1 * e);
    let one = R::of(1.0);
    let zeros = |n: usize| vec![R::of(0.0); n];
    let scratch = || Scratch {
        h: zeros(JOB * e),
        dz: zeros(JOB * e),
        dh: zeros(JOB * e),
        dz_eps: zeros(TILE * e),
        g: zeros(TILE * 2 * e),
        dg: zeros(TILE * 2 * e),
        columns: zeros(2 * e),
        unpadded: Vec::new(),
    };
    let jobs = dx.par_chunks_mut(JOB * d1).zip(x.par_chunks(JOB * d1)).zip(dy.par_chunks(JOB * d1)).enumerate();
    jobs.for_each_init(scratch, |t, (i, ((dx, x), dy))| {
        let rows = x.len() / d1;
        multiply([rows, e, d1], (&mut t.h, e), (x, d1), (down, e, 1), false, one);
        multiply([rows, e, d1], (&mut t.dz, e), (dy, d1), (up, 1, d1), false, one);
        t.dh.fill(R::of(0.0));
        for module in 0..k.modules {
            for tile in (0..rows).step_by(TILE) {
                let tile = tile..rows.min(tile + TILE);
                through_module(k, t, &phi[module * k.layout.len()..], omega[module], module, i * JOB, tile, newest);
            }
        }
        dx.copy_from_slice(dy);
        multiply([rows, d1, e], (dx, d1), (&t.dh, e), (down, 1, e), true, one);
    });
}

/// Takes the `tile` of the job that starts at row `job` back through one module.
fn through_module<R: Real>(
    k: &NoiseMixBackward<'_>,
    t: &mut Scratch<R>,
    phi: &[R],
    omega: R,
    module: usize,
    job: usize,
    tile: Range<usize>,
    newest: Option<Newest<'_, R>>,
) {
    let (e, layout, one, rows) = (k.layout.e, k.layout, R::of(1.0), tile.len());
    let (two, kinds) = (layout.layers == 2, if k.noise == Noise::Mean { 1 } else { 2 });
    let (w2, b2) = (&phi[layout.w2()..], &phi[layout.b2()..]);
    let part = tile.start * e..tile.end * e;
    let (h, dz, dh) = (&t.h[part.clone()], &t.dz[part.clone()], &mut t.dh[part]);
    let first = job + tile.start;
    let dz_eps = if let Noise::Sample { .. } = k.noise {
        philox::rows(k.noise.stream(module), first, [rows, layout.d2, e], &mut t.unpadded, &mut t.dz_eps);
        t.dz_eps.iter_mut().zip(dz).for_each(|(eps, dz)| *eps *= *dz);
        &t.dz_eps[..rows * e]
    } else {
        dz
    };
    t.columns.fill(R::of(0.0));
    for (kind, grad) in [dz, dz_eps].into_iter().take(kinds).enumerate() {
        let weights = (&w2[kind * e * e..], 1, e);
        multiply([rows, e, e], (&mut t.dg[kind * e..], 2 * e), (grad, e), weights, false, one);
        if newest.is_some() {
            add_products(&mut t.columns[..e], grad, &b2[kind * e..][..e]);
        }
    }
    if two {
        multiply([rows, kinds * e, e], (&mut t.g, 2 * e), (h, e), (phi, 2 * e, 1), false, one);
        let (g, dg) = (&mut t.g[..rows * 2 * e], &mut t.dg[..rows * 2 * e]);
        through_gelu(g, dg, &phi[layout.b1()..][..2 * e], &mut t.columns, kinds * e, omega);
        multiply([rows, e, kinds * e], (dh, e), (&t.dg, 2 * e), (phi, 1, 2 * e), true, one);
    } else {
        for ((dg, h), dh) in t.dg.chunks(2 * e).zip(h.chunks(e)).zip(dh.chunks_mut(e)) {
            for dg in dg.chunks(e).take(kinds) {
                dh.iter_mut().zip(dg).for_each(|(dh, dg)| *dh += omega * *dg);
                add_products(&mut t.columns[..e], dg, h);
            }
        }
    }
    let Some(Newest { operands, domega }) = newest else { return };
    // SAFETY: tiles own disjoint rows.
    let to = unsafe { domega.slice(first / TILE * k.modules + module, 1) };
    to[0] = t.columns.iter().copied().sum();
    if module + 1 < k.modules {
        return;
    }
    let ld = operand_cols(layout);
    let fields = ld / e;
    // SAFETY: as above.
    let kept = unsafe { operands.slice(first * ld, rows * ld) };
    for (row, kept) in kept.chunks_mut(ld).enumerate() {
        // With the mean, sigma has no gradient: its fields are zero.
        kept.fill(R::of(0.0));
        kept[..e].copy_from_slice(&h[row * e..][..e]);
        if two {
            kept[e..][..kinds * e].copy_from_slice(&t.g[row * 2 * e..][..kinds * e]);
            kept[3 * e..][..kinds * e].copy_from_slice(&t.dg[row * 2 * e..][..kinds * e]);
        }
        for (kind, grad) in [dz, dz_eps].into_iter().take(kinds).enumerate() {
            let field = &mut kept[(fields - 2 + kind) * e..][..e];
            field.iter_mut().zip(&grad[row * e..]).for_each(|(to, grad)| *to = omega * *grad);
        }
    }
}
