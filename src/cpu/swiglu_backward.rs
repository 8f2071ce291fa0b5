//! Twin of `swiglu_backward`.

use rayon::prelude::*;

use super::activation::sigmoid;
use crate::device::{Io, Real, Twin};
use crate::kernels::swiglu_backward::SwiGluBackward;

impl Twin for SwiGluBackward<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (u, dy) = (io.real(0), io.real(1));
        let [du] = io.outs();
        let cols = self.dy.cols();
        if dy.is_empty() {
            return;
        }
        let rows = du.par_chunks_exact_mut(2 * cols).zip(u.par_chunks_exact(2 * cols)).zip(dy.par_chunks_exact(cols));
        rows.for_each(|((du, u), dy)| {
            let ((da, db), (a, b)) = (du.split_at_mut(cols), u.split_at(cols));
            vectorise!({
                for ((((da, db), a), b), dy) in da.iter_mut().zip(db).zip(a).zip(b).zip(dy) {
                    let (a, s) = (*a, sigmoid(*a));
                    *da = *dy * *b * (s + a * s * sigmoid(-a));
                    *db = *dy * (a * s);
                }
            });
        });
    }
}
