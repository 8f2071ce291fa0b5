//! Twin of `token_mean`.

use rayon::prelude::*;

use crate::device::{Io, Real, Twin};
use crate::kernels::token_mean::TokenMean;

impl Twin for TokenMean<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let x = io.real(0);
        let [out] = io.outs();
        let &[_, tokens, cols] = self.x.shape() else { unreachable!("tokens have shape [b, tokens, d]") };
        if out.is_empty() {
            return;
        }
        let (first, count) = (self.range.start, R::of(self.range.len() as f64));
        out.par_chunks_exact_mut(cols).zip(x.par_chunks_exact(tokens * cols)).for_each(|(out, image)| {
            let rows = &image[first * cols..self.range.end * cols];
            out.copy_from_slice(&rows[..cols]);
            vectorise!({
                for row in rows[cols..].chunks_exact(cols) {
                    for (sum, x) in out.iter_mut().zip(row) {
                        *sum += *x;
                    }
                }
                for mean in out.iter_mut() {
                    *mean /= count;
                }
            });
        });
    }
}
