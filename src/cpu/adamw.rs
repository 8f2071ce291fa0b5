//! Twin of `adamw`.

use rayon::prelude::*;

use super::add::CHUNK;
use crate::device::{Io, Real, Twin};
use crate::kernels::adamw::AdamW;

impl Twin for AdamW<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let grad = io.real(0);
        let clip = self.clip.map_or(R::of(1.0), |_| io.real(1)[0]);
        let [param, first, second] = io.outs();
        let param = &mut param[self.offset..][..grad.len()];
        let f = self.factors();
        let (keep, rate, spread, eps) = (R::of(f.keep), R::of(f.rate), R::of(f.spread), R::of(self.eps));
        let (beta1, rest1) = (R::of(self.beta1), R::of(1.0 - self.beta1));
        let (beta2, rest2) = (R::of(self.beta2), R::of(1.0 - self.beta2));
        let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
        let state = param.par_chunks_mut(CHUNK).zip(moments);
        state.zip(grad.par_chunks(CHUNK)).for_each(|((param, (first, second)), grad)| {
            vectorise!({
                for ((p, (m, v)), g) in param.iter_mut().zip(first.iter_mut().zip(second)).zip(grad) {
                    let g = clip * *g;
                    *m = beta1 * *m + rest1 * g;
                    *v = beta2 * *v + rest2 * g * g;
                    *p = keep * *p - rate * *m / (spread * Real::sqrt(*v) + eps);
                }
            });
        });
    }
}
