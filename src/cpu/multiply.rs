//! Twin of `multiply`.

use rayon::prelude::*;

use super::add::CHUNK;
use crate::device::{Io, Real, Twin};
use crate::kernels::multiply::Multiply;

impl Twin for Multiply<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (a, b) = (io.real(0), io.real(1));
        let [y] = io.outs();
        y.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK)).for_each(|((y, a), b)| {
            vectorise!({
                for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
                    *y = if self.accumulate { *y + *a * *b } else { *a * *b };
                }
            });
        });
    }
}
