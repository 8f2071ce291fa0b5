//! Twin of `noise_mix`: tiles of token rows that stay in cache through the whole layer.

use std::ops::Range;

use rayon::prelude::*;

use super::activation::gelu;
use super::gemm::product;
use super::philox;
use crate::device::{Io, Real};
use crate::kernels::noise::Noise;
use crate::kernels::noise_mix::NoiseMix;

/// Rows that pass through a module together.
pub const TILE: usize = 64;
/// Rows of a job: their tiles take turns at each module, so that its weights stay in cache.
pub const JOB: usize = 4 * TILE;

/// `dst[m, n] = [keep] dst + scale lhs[m, k] rhs[k, n]` inside slices; `dst` and `lhs` with their leading dimensions,
/// `rhs` with its (row, column) strides.
pub fn multiply<R: Real>(
    [m, n, k]: [usize; 3],
    (dst, dst_ld): (&mut [R], usize),
    (lhs, lhs_ld): (&[R], usize),
    (rhs, rhs_rs, rhs_cs): (&[R], usize, usize),
    keep: bool,
    scale: R,
) {
    assert!((m - 1) * dst_ld + n <= dst.len() && (m - 1) * lhs_ld + k <= lhs.len());
    assert!((k - 1) * rhs_rs + (n - 1) * rhs_cs < rhs.len());
    // SAFETY: the assertions keep all three inside their slices, and `dst` is borrowed alone.
    unsafe {
        product(
            [m, n, k],
            (dst.as_mut_ptr(), dst_ld, 1),
            (lhs.as_ptr(), lhs_ld, 1),
            (rhs.as_ptr(), rhs_rs, rhs_cs),
            keep,
            scale,
        );
    }
}

/// Adds `bias` to every row of `u` and applies GELU.
fn bias_gelu<R: Real>(u: &mut [R], bias: &[R], width: usize) {
    super::vectorise(
        #[inline(always)]
        || {
            for row in u.chunks_mut(bias.len()) {
                row[..width].iter_mut().zip(bias).for_each(|(x, b)| *x = gelu(*x + *b));
            }
        },
    );
}

/// `z += omega eps (s + bias)`.
fn add_noise<R: Real>(z: &mut [R], s: &[R], bias: &[R], eps: Option<&[R]>, omega: R) {
    super::vectorise(
        #[inline(always)]
        || {
            let e = bias.len();
            for (i, (z, s)) in z.chunks_mut(e).zip(s.chunks(e)).enumerate() {
                match eps {
                    Some(eps) => {
                        let eps = &eps[i * e..][..e];
                        for j in 0..e {
                            z[j] += omega * eps[j] * (s[j] + bias[j]);
                        }
                    }
                    None => (0..e).for_each(|j| z[j] += omega * (s[j] + bias[j])),
                }
            }
        },
    );
}

/// Buffers of one job: h and the mixture of all its rows, the others for one tile.
struct Scratch<R> {
    h: Vec<R>,
    z: Vec<R>,
    g: Vec<R>,
    s: Vec<R>,
    eps: Vec<R>,
    unpadded: Vec<R>,
}

pub fn noise_mix<R: Real>(k: &NoiseMix<'_>, io: Io<'_, R>) {
    let (x, proj, phi, omega) = (io.real(0), io.real(1), io.real(2), io.real(3));
    let [y] = io.outs();
    let (d1, e) = (k.x.cols(), k.layout.e);
    let (down, up) = proj.split_at(d1 * e);
    let zeros = |n: usize| vec![R::of(0.0); n];
    let scratch = || Scratch {
        h: zeros(JOB * e),
        z: zeros(JOB * e),
        g: zeros(TILE * 2 * e),
        s: zeros(TILE * e),
        eps: zeros(TILE * e),
        unpadded: Vec::new(),
    };
    let one = R::of(1.0);
    // The biases of all mu maps, mixed.
    let mut bias = zeros(e);
    for (row, w) in phi.chunks(k.layout.len()).zip(omega).take(k.modules) {
        bias.iter_mut().zip(&row[k.layout.b2()..]).for_each(|(sum, b)| *sum += *w * *b);
    }
    y.par_chunks_mut(JOB * d1).zip(x.par_chunks(JOB * d1)).enumerate().for_each_init(scratch, |t, (i, (y, x))| {
        let rows = x.len() / d1;
        multiply([rows, e, d1], (&mut t.h, e), (x, d1), (down, e, 1), false, one);
        t.z.chunks_mut(e).for_each(|z| z.copy_from_slice(&bias));
        for module in 0..k.modules {
            for tile in (0..rows).step_by(TILE) {
                add_module(
                    k,
                    t,
                    &phi[module * k.layout.len()..],
                    omega[module],
                    module,
                    i * JOB,
                    tile..rows.min(tile + TILE),
                );
            }
        }
        y.copy_from_slice(x);
        multiply([rows, d1, e], (y, d1), (&t.z, e), (up, d1, 1), true, one);
    });
}

/// Adds one module's part of the mixture for the `tile` of the job that starts at row `job`.
fn add_module<R: Real>(
    k: &NoiseMix<'_>,
    t: &mut Scratch<R>,
    phi: &[R],
    omega: R,
    module: usize,
    job: usize,
    tile: Range<usize>,
) {
    let (e, layout, one, rows) = (k.layout.e, k.layout, R::of(1.0), tile.len());
    let (w2, sigma) = (&phi[layout.w2()..], k.noise != Noise::Mean);
    let (h, z) = (&t.h[tile.start * e..][..rows * e], &mut t.z[tile.start * e..][..rows * e]);
    let (g, ld) = if layout.layers == 2 {
        let width = if sigma { 2 * e } else { e };
        multiply([rows, width, e], (&mut t.g, 2 * e), (h, e), (phi, 2 * e, 1), false, one);
        bias_gelu(&mut t.g[..rows * 2 * e], &phi[layout.b1()..][..2 * e], width);
        (&t.g[..], 2 * e)
    } else {
        (h, e)
    };
    multiply([rows, e, e], (z, e), (g, ld), (w2, e, 1), true, omega);
    if sigma {
        let g = if layout.layers == 2 { &g[e..] } else { g };
        multiply([rows, e, e], (&mut t.s, e), (g, ld), (&w2[e * e..], e, 1), false, one);
        let eps = matches!(k.noise, Noise::Sample { .. }).then(|| {
            let stream = k.noise.stream(module);
            philox::rows(stream, job + tile.start, [rows, layout.d2, e], &mut t.unpadded, &mut t.eps);
            &t.eps[..]
        });
        add_noise(z, &t.s, &phi[layout.b2() + e..][..e], eps, omega);
    }
}
