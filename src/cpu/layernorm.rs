//! Twin of `layernorm`.

use rayon::prelude::*;

use crate::device::{Io, Out, Real, Twin};
use crate::kernels::layernorm::LayerNorm;

/// Elements of the rows that one job takes.
pub const BLOCK: usize = 1 << 14;

/// `sum_i term(a[i], b[i])` as sixteen interleaved sums, which vectorise and round less than one.
#[inline(always)]
pub fn sum_pairs<R: Real>(a: &[R], b: &[R], term: impl Fn(R, R) -> R) -> R {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = [R::of(0.0); 16];
    for (a, b) in a.iter().zip(b) {
        for i in 0..16 {
            sums[i] += term(a[i], b[i]);
        }
    }
    for (i, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[i] += term(*a, *b);
    }
    sums.into_iter().sum()
}

impl Twin for LayerNorm<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (x, gamma, beta) = (io.real(0), io.real(1), io.real(2));
        let mut outs = io.outs.into_iter().map(|o| match o {
            Out::Real(x) => x,
            Out::U32(_) => unreachable!("layernorm writes reals"),
        });
        let (out, stats) = (outs.next().expect("out"), outs.next().unwrap_or_default());
        let cols = self.x.cols();
        let (n, eps) = (R::of(cols as f64), R::of(self.eps.into()));
        if cols == 0 {
            return;
        }
        let rows = (BLOCK / cols).max(1);
        // Without stats every block of rows has an empty one.
        let stats = stats.chunks_mut(2 * rows).chain(std::iter::repeat_with(<&mut [R]>::default));
        let jobs: Vec<_> = out.chunks_mut(rows * cols).zip(x.chunks(rows * cols)).zip(stats).collect();
        jobs.into_par_iter().for_each(|((out, x), stats)| {
            let mut stats = stats.chunks_exact_mut(2);
            for (out, x) in out.chunks_exact_mut(cols).zip(x.chunks_exact(cols)) {
                let (mut mean, mut rstd) = (n, n);
                vectorise!({
                    mean = sum_pairs(x, x, |x, _| x) / n;
                    rstd = R::of(1.0) / Real::sqrt(sum_pairs(x, x, |x, _| (x - mean) * (x - mean)) / n + eps);
                    for (((out, x), gamma), beta) in out.iter_mut().zip(x).zip(gamma).zip(beta) {
                        *out = (*x - mean) * rstd * *gamma + *beta;
                    }
                });
                if let Some(stats) = stats.next() {
                    stats.copy_from_slice(&[mean, rstd]);
                }
            }
        });
    }
}
