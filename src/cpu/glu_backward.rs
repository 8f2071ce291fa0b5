//! Twin of `glu_backward`.

use rayon::prelude::*;

use super::activation::{gelu_with_slope, silu_with_slope};
use crate::device::{Io, Real, Twin};
use crate::kernels::glu::Gate;
use crate::kernels::glu_backward::GluBackward;

impl Twin for GluBackward<'_> {
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
            let all = da.iter_mut().zip(db).zip(a).zip(b).zip(dy);
            vectorise!(match self.gate {
                Gate::Silu => {
                    for ((((da, db), a), b), dy) in all {
                        let (gate, slope) = silu_with_slope(*a);
                        (*da, *db) = (*dy * *b * slope, *dy * gate);
                    }
                }
                Gate::Gelu => {
                    for ((((da, db), a), b), dy) in all {
                        let (gate, slope) = gelu_with_slope(*a);
                        (*da, *db) = (*dy * *b * slope, *dy * gate);
                    }
                }
            });
        });
    }
}
