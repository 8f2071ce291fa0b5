//! Twin of `noise_mix_backward`: tiles of token rows that stay in cache through the whole layer.

use faer::Accum;
use rayon::prelude::*;

use super::activation::gelu_with_slope;
use super::layernorm::sum_pairs;
use super::noise_mix::spread;
use super::philox;
use crate::device::{Io, Out, Real, Twin};
use crate::kernels::noise_mix::Noise;
use crate::kernels::noise_mix_backward::{NoiseMixBackward, job_rows, operand_cols};
use crate::linalg::{matrix, matrix_mut, product};

/// Buffers of one job.
struct Scratch<R> {
    h: Vec<R>,
    dz: Vec<R>,
    dh: Vec<R>,
    dz_eps: Vec<R>,
    /// u, then g.
    g: Vec<R>,
    /// dg, then du.
    dg: Vec<R>,
    /// With one layer: h^T dz.
    gram: Vec<R>,
    unpadded: Vec<R>,
}

/// Outputs of a job for the newest module.
struct Newest<'a, R> {
    /// Those of its rows.
    operands: &'a mut [R],
    /// Its part of the gradient of omega, for all modules.
    domega: &'a mut [R],
}

/// Turns u into g = gelu(u) and dg into du = omega dg gelu'(u); returns g dg.
#[inline(always)]
fn gelu_step<R: Real>(u: &mut R, dg: &mut R, omega: R) -> R {
    let ((g, slope), grad) = (gelu_with_slope(*u), *dg);
    (*u, *dg) = (g, omega * grad * slope);
    g * grad
}

/// Turns u into g = gelu(u) and dg into du = omega dg gelu'(u); returns the sum of all g dg.
fn through_gelu<R: Real>(u: &mut [R], dg: &mut [R], omega: R) -> R {
    let mut sums = [R::of(0.0); 16];
    vectorise!({
        let ((u, u_rest), (dg, dg_rest)) = (u.as_chunks_mut::<16>(), dg.as_chunks_mut::<16>());
        for (u, dg) in u.iter_mut().zip(dg) {
            for i in 0..16 {
                sums[i] += gelu_step(&mut u[i], &mut dg[i], omega);
            }
        }
        for ((u, dg), sum) in u_rest.iter_mut().zip(dg_rest).zip(&mut sums) {
            *sum += gelu_step(u, dg, omega);
        }
    });
    sums.into_iter().sum()
}

/// Adds omega dg to dh; returns the sum of all dg h.
fn through_map<R: Real>(dg: &[R], h: &[R], dh: &mut [R], omega: R) -> R {
    vectorise!({
        for (dh, dg) in dh.iter_mut().zip(dg) {
            *dh += omega * *dg;
        }
        sum_pairs(dg, h, |dg, h| dg * h)
    })
}

/// `sum_ij a[i, j] b[j]`
pub(super) fn dot<R: Real>(a: &[R], b: &[R]) -> R {
    let mut sum = R::of(0.0);
    vectorise!({
        for a in a.chunks_exact(b.len()) {
            sum += sum_pairs(a, b, |a, b| a * b);
        }
    });
    sum
}

impl Twin for NoiseMixBackward<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (x, proj, phi, omega, dy) = (io.real(0), io.real(1), io.real(2), io.real(3), io.real(4));
        let mut outs = io.outs.into_iter().map(|o| match o {
            Out::Real(x) => x,
            Out::U32(_) => unreachable!("noise_mix_backward writes reals"),
        });
        let dx = outs.next().expect("dx");
        let (operands, domega) = (outs.next().unwrap_or_default(), outs.next().unwrap_or_default());
        // A GPU's groups are not larger than these jobs: there are sums enough, and some stay zero.
        domega.fill(R::of(0.0));
        let (d1, e) = (self.x.cols(), self.layout.e);
        let (down, up) = proj.split_at(d1 * e);
        let one = R::of(1.0);
        let zeros = |n: usize| vec![R::of(0.0); n];
        let job = job_rows(self.x.rows());
        let scratch = || Scratch {
            h: zeros(job * e),
            dz: zeros(job * e),
            dh: zeros(job * e),
            dz_eps: zeros(job * e),
            g: zeros(job * 2 * e),
            dg: zeros(job * 2 * e),
            gram: zeros(e * e),
            unpadded: Vec::new(),
        };
        // One layer: mu of all modules is one map.
        let one_layer = self.layout.layers == 1;
        let mut mean = zeros(if one_layer { e * e } else { 0 });
        for (row, omega) in phi.chunks(self.layout.len()).zip(omega).take(self.modules) {
            mean.iter_mut().zip(&row[self.layout.w2()..]).for_each(|(sum, w)| *sum += *omega * *w);
        }
        let operands = operands.chunks_mut(job * operand_cols(self.layout));
        let newest =
            operands.zip(domega.chunks_mut(self.modules)).map(|(operands, domega)| Newest { operands, domega });
        let newest: Vec<_> =
            newest.map(Some).chain(std::iter::repeat_with(|| None)).take(x.len().div_ceil(job * d1)).collect();
        let jobs = dx.par_chunks_mut(job * d1).zip(x.par_chunks(job * d1)).zip(dy.par_chunks(job * d1));
        jobs.zip(newest).enumerate().for_each_init(scratch, |t, (i, (((dx, x), dy), mut newest))| {
            let rows = x.len() / d1;
            let down = matrix(down, d1, e, e);
            product(matrix_mut(&mut t.h, rows, e, e), Accum::Replace, matrix(x, rows, d1, d1), down, one);
            let up = matrix(up, e, d1, d1);
            product(matrix_mut(&mut t.dz, rows, e, e), Accum::Replace, matrix(dy, rows, d1, d1), up.transpose(), one);
            let (h, dz) = (matrix(&t.h, rows, e, e), matrix(&t.dz, rows, e, e));
            if one_layer {
                let mean = matrix(&mean, e, e, e).transpose();
                product(matrix_mut(&mut t.dh, rows, e, e), Accum::Replace, dz, mean, one);
                if newest.is_some() {
                    product(matrix_mut(&mut t.gram, e, e, e), Accum::Replace, h.transpose(), dz, one);
                }
            } else {
                t.dh.fill(R::of(0.0));
            }
            for module in 0..self.modules {
                through_module(
                    self,
                    t,
                    &phi[module * self.layout.len()..],
                    omega[module],
                    module,
                    i * job,
                    rows,
                    newest.as_mut(),
                );
            }
            let accum = if self.residual {
                dx.copy_from_slice(dy);
                Accum::Add
            } else {
                Accum::Replace
            };
            product(matrix_mut(dx, rows, d1, d1), accum, matrix(&t.dh, rows, e, e), down.transpose(), one);
        });
    }
}

/// Takes the `rows` rows from row `first` on back through one module; with one layer through its sigma, and mu gives the
/// gradient of omega alone.
fn through_module<R: Real>(
    k: &NoiseMixBackward<'_>,
    t: &mut Scratch<R>,
    phi: &[R],
    omega: R,
    module: usize,
    first: usize,
    rows: usize,
    newest: Option<&mut Newest<'_, R>>,
) {
    let (e, layout, one) = (k.layout.e, k.layout, R::of(1.0));
    let (two, kinds) = (layout.layers == 2, if k.noise == Noise::Mean { 1 } else { 2 });
    let (w2, b2) = (&phi[layout.w2()..], &phi[layout.b2()..]);
    let (h, dz, dh) = (&t.h[..rows * e], &t.dz[..rows * e], &mut t.dh[..rows * e]);
    let dz_eps = if let Noise::Sample { .. } = k.noise {
        philox::rows(k.noise.stream(module), first, [rows, layout.d2, e], &mut t.unpadded, &mut t.dz_eps);
        vectorise!({
            for (eps, dz) in t.dz_eps.iter_mut().zip(dz) {
                *eps *= *dz;
            }
        });
        &t.dz_eps[..rows * e]
    } else {
        dz
    };
    // The gradient of omega: <dz, z> of this module.
    let mut domega = R::of(0.0);
    let width = kinds * e;
    let (g, dg) = (&mut t.g[..rows * width], &mut t.dg[..rows * width]);
    if newest.is_some() {
        for (kind, grad) in [dz, dz_eps].into_iter().take(kinds).enumerate() {
            domega += dot(grad, &b2[kind * e..][..e]);
        }
    }
    let weights = |kind: usize| matrix(&w2[kind * e * e..], e, e, e).transpose();
    if two {
        for (kind, grad) in [dz, dz_eps].into_iter().take(kinds).enumerate() {
            let dg = matrix_mut(&mut dg[kind * e..], rows, e, width);
            product(dg, Accum::Replace, matrix(grad, rows, e, e), weights(kind), one);
        }
        let w1 = matrix(phi, e, width, 2 * e);
        spread(&phi[layout.b1()..][..width], g);
        product(matrix_mut(g, rows, width, width), Accum::Add, matrix(h, rows, e, e), w1, one);
        domega += through_gelu(g, dg, omega);
        product(matrix_mut(dh, rows, e, e), Accum::Add, matrix(dg, rows, width, width), w1.transpose(), one);
    } else {
        domega += sum_pairs(&t.gram, &w2[..e * e], |a, b| a * b);
        if kinds == 2 {
            let dg = &mut dg[..rows * e];
            product(matrix_mut(dg, rows, e, e), Accum::Replace, matrix(dz_eps, rows, e, e), weights(1), one);
            domega += through_map(dg, h, dh, omega);
        }
    }
    let Some(newest) = newest else { return };
    newest.domega[module] = domega;
    if module + 1 < k.modules {
        return;
    }
    let ld = operand_cols(layout);
    let fields = ld / e;
    for (row, kept) in newest.operands.chunks_mut(ld).enumerate() {
        // With the mean, sigma has no gradient: its fields are zero.
        kept.fill(R::of(0.0));
        kept[..e].copy_from_slice(&h[row * e..][..e]);
        if two {
            kept[e..][..width].copy_from_slice(&g[row * width..][..width]);
            kept[3 * e..][..width].copy_from_slice(&dg[row * width..][..width]);
        }
        for (kind, grad) in [dz, dz_eps].into_iter().take(kinds).enumerate() {
            let field = &mut kept[(fields - 2 + kind) * e..][..e];
            field.iter_mut().zip(&grad[row * e..]).for_each(|(to, grad)| *to = omega * *grad);
        }
    }
}
