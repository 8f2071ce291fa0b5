//! Twin of `noise_mix_backward`: tiles of token rows that stay in cache through the whole layer.

use rayon::prelude::*;

use super::activation::{gelu, gelu_grad};
use super::noise_mix::{TILE, multiply};
use super::{SharedMut, philox};
use crate::device::{Io, Out, Real};
use crate::kernels::noise::Noise;
use crate::kernels::noise_mix_backward::{NoiseMixBackward, operand_cols};

/// Buffers of one tile.
struct Scratch<R> {
    h: Vec<R>,
    dz: Vec<R>,
    dz_eps: Vec<R>,
    dh: Vec<R>,
    /// u, then g.
    g: Vec<R>,
    dg: Vec<R>,
    /// Sums of every column, for the gradient of omega.
    columns: Vec<R>,
    unpadded: Vec<R>,
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
    let (dx, operands, domega) = (outs.next().expect("dx"), outs.next(), outs.next());
    let (d1, e, two) = (k.x.cols(), k.layout.e, k.layout.layers == 2);
    let (down, up) = proj.split_at(d1 * e);
    let (zero, one) = (R::of(0.0), R::of(1.0));
    let zeros = |n: usize| vec![zero; n];
    let scratch = || Scratch {
        h: zeros(TILE * e),
        dz: zeros(TILE * e),
        dz_eps: zeros(TILE * e),
        dh: zeros(TILE * e),
        g: zeros(TILE * 2 * e),
        dg: zeros(TILE * 2 * e),
        columns: zeros(2 * e),
        unpadded: Vec::new(),
    };
    // A GPU's tiles are not larger than these, so that there are enough rows.
    let domega = domega.map(|d| {
        d.fill(zero);
        SharedMut::new(d)
    });
    let operands = operands.map(SharedMut::new);
    let ld = operand_cols(k.layout);
    let sigma = k.noise != Noise::Mean;
    let kinds = if sigma { 2 } else { 1 };
    let tiles = dx.par_chunks_mut(TILE * d1).zip(x.par_chunks(TILE * d1)).zip(dy.par_chunks(TILE * d1)).enumerate();
    tiles.for_each_init(scratch, |t, (i, ((dx, x), dy))| {
        let rows = x.len() / d1;
        multiply([rows, e, d1], (&mut t.h, e), (x, d1), (down, e, 1), false, one);
        multiply([rows, e, d1], (&mut t.dz, e), (dy, d1), (up, 1, d1), false, one);
        t.dh.fill(zero);
        // SAFETY: tiles own disjoint rows.
        let mut kept = operands.map(|o| unsafe { o.slice(i * TILE * ld, rows * ld) });
        let mut keep = |field: usize, from: &[R], from_ld: usize| {
            let Some(kept) = &mut kept else { return };
            for (to, from) in kept.chunks_mut(ld).zip(from.chunks(from_ld)) {
                to[field * e..][..e].copy_from_slice(&from[..e]);
            }
        };
        keep(0, &t.h, e);
        for (module, phi) in phi.chunks(k.layout.len()).take(k.modules).enumerate() {
            let (w, w2, b2) = (omega[module], &phi[k.layout.w2()..], &phi[k.layout.b2()..]);
            let dz_eps = if let Noise::Sample { .. } = k.noise {
                let stream = k.noise.stream(module);
                philox::rows(stream, i * TILE, [rows, k.layout.d2, e], &mut t.unpadded, &mut t.dz_eps);
                t.dz_eps.iter_mut().zip(&t.dz).for_each(|(eps, dz)| *eps *= *dz);
                &t.dz_eps
            } else {
                &t.dz
            };
            t.columns.fill(zero);
            for (kind, grad) in [&t.dz, dz_eps].into_iter().take(kinds).enumerate() {
                let weights = (&w2[kind * e * e..], 1, e);
                multiply([rows, e, e], (&mut t.dg[kind * e..], 2 * e), (grad, e), weights, false, one);
                if domega.is_some() {
                    add_products(&mut t.columns[..e], &grad[..rows * e], &b2[kind * e..][..e]);
                }
            }
            if two {
                multiply([rows, kinds * e, e], (&mut t.g, 2 * e), (&t.h, e), (phi, 2 * e, 1), false, one);
                let (g, dg) = (&mut t.g[..rows * 2 * e], &mut t.dg[..rows * 2 * e]);
                through_gelu(g, dg, &phi[k.layout.b1()..][..2 * e], &mut t.columns, kinds * e, w);
                multiply([rows, e, kinds * e], (&mut t.dh, e), (&t.dg, 2 * e), (phi, 1, 2 * e), true, one);
            } else {
                for (row, dg) in t.dg.chunks(2 * e).enumerate().take(rows) {
                    for dg in dg.chunks(e).take(kinds) {
                        let (dh, h) = (&mut t.dh[row * e..][..e], &t.h[row * e..][..e]);
                        dh.iter_mut().zip(dg).for_each(|(dh, dg)| *dh += w * *dg);
                        add_products(&mut t.columns[..e], dg, h);
                    }
                }
            }
            if let Some(domega) = domega {
                // SAFETY: tiles own disjoint rows.
                let to = unsafe { domega.slice(i * k.modules + module, 1) };
                to[0] = t.columns.iter().copied().sum();
            }
            if module + 1 == k.modules && operands.is_some() {
                // With the mean, sigma has no gradient.
                let nothing = zeros(if sigma { 0 } else { TILE * e });
                if two {
                    keep(1, &t.g, 2 * e);
                    keep(3, &t.dg, 2 * e);
                    let [g, dg] = [&t.g, &t.dg].map(|x| if sigma { &x[e..] } else { &nothing[..] });
                    let step = if sigma { 2 * e } else { e };
                    keep(2, g, step);
                    keep(4, dg, step);
                }
                let scaled = |x: &[R]| x.iter().map(|x| w * *x).collect::<Vec<R>>();
                let fields = ld / e;
                keep(fields - 2, &scaled(&t.dz), e);
                keep(fields - 1, if sigma { scaled(dz_eps) } else { nothing }.as_slice(), e);
            }
        }
        dx.copy_from_slice(dy);
        multiply([rows, d1, e], (dx, d1), (&t.dh, e), (down, 1, e), true, one);
    });
}
