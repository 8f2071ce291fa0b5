//! Twin of `token_mean_backward`.

use rayon::prelude::*;

use crate::device::{Io, Real, Twin};
use crate::kernels::token_mean_backward::TokenMeanBackward;

impl Twin for TokenMeanBackward<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let dy = io.real(0);
        let [dx] = io.outs();
        let &[_, tokens, cols] = self.dx.shape() else { unreachable!("tokens have shape [b, tokens, d]") };
        if dx.is_empty() {
            return;
        }
        let count = R::of(self.range.len() as f64);
        dx.par_chunks_exact_mut(tokens * cols).zip(dy.par_chunks_exact(cols)).for_each(|(image, dy)| {
            for (t, row) in image.chunks_exact_mut(cols).enumerate() {
                if self.range.contains(&t) {
                    row.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = *dy / count);
                } else {
                    row.fill(R::of(0.0));
                }
            }
        });
    }
}
