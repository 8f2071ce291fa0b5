//! Twin of `noise_mix`: tiles of token rows that stay in cache through the whole layer.

use faer::Accum;
use rayon::prelude::*;

use super::activation::gelu;
use super::philox;
use crate::device::{Io, Real, Twin};
use crate::kernels::noise_mix::Noise;
use crate::kernels::noise_mix::NoiseMix;
use crate::kernels::noise_mix_backward::job_rows;
use crate::linalg::{matrix, matrix_mut, product};

/// Copies `row` to every row of a matrix, for a product to be added.
pub(super) fn spread<R: Real>(row: &[R], to: &mut [R]) {
    to.chunks_exact_mut(row.len()).for_each(|to| to.copy_from_slice(row));
}

/// Buffers of one job.
struct Scratch<R> {
    h: Vec<R>,
    z: Vec<R>,
    g: Vec<R>,
    s: Vec<R>,
    eps: Vec<R>,
    unpadded: Vec<R>,
}

impl Twin for NoiseMix<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (x, proj) = (io.real(0), io.real(1));
        let (phi, omega, next) = if self.passes() > 0 { (io.real(2), io.real(3), 4) } else { (&[][..], &[][..], 2) };
        let (d1, e) = (self.x.cols(), self.layout.e);
        let residual = io.real(next);
        let mean = self.mean.map(|_| io.real(next + 1).split_at(e * e));
        let [y] = io.outs();
        let (down, up) = proj.split_at(d1 * e);
        let zeros = |n: usize| vec![R::of(0.0); n];
        let job = job_rows(self.x.rows());
        let scratch = || Scratch {
            h: zeros(job * e),
            z: zeros(job * e),
            g: zeros(job * 2 * e),
            s: zeros(job * e),
            eps: zeros(job * e),
            unpadded: Vec::new(),
        };
        let one = R::of(1.0);
        let bias = match mean {
            Some((_, bias)) => bias.to_vec(),
            None => {
                // All biases of mu at once.
                let mut sum = zeros(e);
                for (row, w) in phi.chunks(self.layout.len()).zip(omega).take(self.modules) {
                    sum.iter_mut().zip(&row[self.layout.b2()..]).for_each(|(sum, b)| *sum += *w * *b);
                }
                sum
            }
        };
        let jobs = y.par_chunks_mut(job * d1).zip(x.par_chunks(job * d1)).zip(residual.par_chunks(job * d1));
        jobs.enumerate().for_each_init(scratch, |t, (i, ((y, x), residual))| {
            let rows = x.len() / d1;
            let h = matrix_mut(&mut t.h, rows, e, e);
            product(h, Accum::Replace, matrix(x, rows, d1, d1), matrix(down, d1, e, e), one);
            spread(&bias, &mut t.z);
            if let Some((map, _)) = mean {
                let z = matrix_mut(&mut t.z, rows, e, e);
                product(z, Accum::Add, matrix(&t.h, rows, e, e), matrix(map, e, e, e), one);
            }
            for module in 0..self.passes() {
                add_module(self, t, &phi[module * self.layout.len()..], omega[module], module, i * job, rows);
            }
            y.copy_from_slice(residual);
            product(matrix_mut(y, rows, d1, d1), Accum::Add, matrix(&t.z, rows, e, e), matrix(up, e, d1, d1), one);
        });
    }
}

/// Adds one module's part of the mixture for the `rows` rows from row `first` on; with one layer that of sigma alone.
fn add_module<R: Real>(
    k: &NoiseMix<'_>,
    t: &mut Scratch<R>,
    phi: &[R],
    omega: R,
    module: usize,
    first: usize,
    rows: usize,
) {
    let (e, layout, one) = (k.layout.e, k.layout, R::of(1.0));
    let (w2, sigma) = (&phi[layout.w2()..], k.noise != Noise::Mean);
    let h = matrix(&t.h, rows, e, e);
    let width = if sigma { 2 * e } else { e };
    let (g_mu, g_sigma) = if layout.layers == 2 {
        let g = &mut t.g[..rows * width];
        product(matrix_mut(g, rows, width, width), Accum::Replace, h, matrix(phi, e, width, 2 * e), one);
        let bias = &phi[layout.b1()..][..width];
        let all = g.chunks_exact_mut(width);
        vectorise!({
            for row in all {
                for (x, bias) in row.iter_mut().zip(bias) {
                    *x = gelu(*x + *bias);
                }
            }
        });
        (matrix(&t.g, rows, e, width), matrix(&t.g[width - e..], rows, e, width))
    } else {
        (h, h)
    };
    let z = &mut t.z[..rows * e];
    if layout.layers == 2 {
        product(matrix_mut(z, rows, e, e), Accum::Add, g_mu, matrix(w2, e, e, e), omega);
    }
    if sigma {
        let s = &mut t.s[..rows * e];
        product(matrix_mut(s, rows, e, e), Accum::Replace, g_sigma, matrix(&w2[e * e..], e, e, e), one);
        let bias = &phi[layout.b2() + e..][..e];
        // Normals that the first-level cache holds.
        let stripe = 32.min(rows);
        for (i, (z, s)) in z.chunks_mut(stripe * e).zip(s.chunks(stripe * e)).enumerate() {
            let eps = &mut t.eps[..z.len()];
            match k.noise {
                Noise::Sample { .. } => {
                    let size = [z.len() / e, layout.d2, e];
                    philox::rows(k.noise.stream(module), first + i * stripe, size, &mut t.unpadded, eps);
                }
                _ => eps.fill(one),
            }
            let all = z.chunks_exact_mut(e).zip(s.chunks_exact(e)).zip(eps.chunks_exact(e));
            vectorise!({
                for ((z, s), eps) in all {
                    for (((z, s), eps), bias) in z.iter_mut().zip(s).zip(eps).zip(bias) {
                        *z += omega * *eps * (*s + *bias);
                    }
                }
            });
        }
    }
}
