//! Twin of `layernorm_backward`.

use rayon::prelude::*;

use super::layernorm::{BLOCK, sum_pairs};
use crate::device::{Io, Real, Twin};
use crate::kernels::layernorm_backward::LayerNormBackward;

impl Twin for LayerNormBackward<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let [x, gamma, stats, dy] = [0, 1, 2, 3].map(|i| io.real(i));
        let [dx] = io.outs();
        let cols = self.x.cols();
        if cols == 0 {
            return;
        }
        let n = R::of(cols as f64);
        let rows = (BLOCK / cols).max(1);
        dx.par_chunks_mut(rows * cols).enumerate().for_each(|(block, dx)| {
            let (mut g, mut xhat) = (vec![n; cols], vec![n; cols]);
            for (i, dx) in dx.chunks_exact_mut(cols).enumerate() {
                let row = block * rows + i;
                let (x, dy) = (&x[row * cols..][..cols], &dy[row * cols..][..cols]);
                let (mean, rstd) = (stats[2 * row], stats[2 * row + 1]);
                vectorise!({
                    for ((g, dy), gamma) in g.iter_mut().zip(dy).zip(gamma) {
                        *g = *dy * *gamma;
                    }
                    for (xhat, x) in xhat.iter_mut().zip(x) {
                        *xhat = (*x - mean) * rstd;
                    }
                    let mean_g = sum_pairs(&g, &g, |g, _| g) / n;
                    let mean_gx = sum_pairs(&g, &xhat, |g, xhat| g * xhat) / n;
                    if !self.accumulate {
                        dx.fill(R::of(0.0));
                    }
                    for ((dx, g), xhat) in dx.iter_mut().zip(&g).zip(&xhat) {
                        *dx += rstd * (*g - mean_g - *xhat * mean_gx);
                    }
                });
            }
        });
    }
}
