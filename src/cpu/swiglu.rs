//! Twin of `swiglu`.

use rayon::prelude::*;

use super::activation::sigmoid;
use crate::device::{Io, Real, Twin};
use crate::kernels::swiglu::SwiGlu;

impl Twin for SwiGlu<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let u = io.real(0);
        let [out] = io.outs();
        let cols = self.out.cols();
        if out.is_empty() {
            return;
        }
        out.par_chunks_exact_mut(cols).zip(u.par_chunks_exact(2 * cols)).for_each(|(out, u)| {
            let (a, b) = u.split_at(cols);
            vectorise!({
                for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                    *out = *a * sigmoid(*a) * *b;
                }
            });
        });
    }
}
