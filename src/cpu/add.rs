//! Twin of `add`.

use rayon::prelude::*;

use crate::device::{Io, Real, Twin};
use crate::kernels::add::Add;

/// Elements that one job of an elementwise twin takes.
pub const CHUNK: usize = 1 << 14;

impl Twin for Add<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let x = io.real(0);
        let [y] = io.outs();
        y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
            vectorise!({
                for (y, x) in y.iter_mut().zip(x) {
                    *y += *x;
                }
            });
        });
    }
}
