//! Twin of `tanh`.

use rayon::prelude::*;

use super::add::CHUNK;
use crate::device::{Io, Real, Twin};
use crate::kernels::tanh::Tanh;

/// `tanh(x)`, from an exponential that cannot overflow.
#[inline(always)]
fn tanh<R: Real>(x: R) -> R {
    let (one, s) = (R::of(1.0), Real::exp(-Real::max(x, -x)));
    let e = s * s;
    (if x < R::of(0.0) { e - one } else { one - e }) / (one + e)
}

impl Twin for Tanh<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let x = io.real(0);
        let [y] = io.outs();
        y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
            vectorise!({
                for (y, x) in y.iter_mut().zip(x) {
                    *y = tanh(*x);
                }
            });
        });
    }
}
