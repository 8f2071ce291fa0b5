//! Twin of `sgd`.

use rayon::prelude::*;

use super::add::CHUNK;
use crate::device::{Io, Real, Twin};
use crate::kernels::sgd::Sgd;

impl Twin for Sgd<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let grad = io.real(0);
        let clip = self.clip.map_or(R::of(1.0), |_| io.real(1)[0]);
        let [param, velocity] = io.outs();
        let param = &mut param[self.offset..][..grad.len()];
        let (lr, momentum, weight_decay) = (R::of(self.lr), R::of(self.momentum), R::of(self.weight_decay));
        let state = param.par_chunks_mut(CHUNK).zip(velocity.par_chunks_mut(CHUNK));
        state.zip(grad.par_chunks(CHUNK)).for_each(|((param, velocity), grad)| {
            vectorise!({
                for ((p, v), g) in param.iter_mut().zip(velocity).zip(grad) {
                    *v = momentum * *v + (clip * *g + weight_decay * *p);
                    *p -= lr * *v;
                }
            });
        });
    }
}
