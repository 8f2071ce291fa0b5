//! Twin of `root_ratio`.

use rayon::prelude::*;

use super::add::CHUNK;
use crate::device::{Io, Real, Twin};
use crate::kernels::root_ratio::RootRatio;
use crate::kernels::row_unit::LEAST;

impl Twin for RootRatio<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (x, s) = (io.real(0), io.real(1));
        let [y] = io.outs();
        y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).zip(s.par_chunks(CHUNK)).for_each(|((y, x), s)| {
            vectorise!({
                for ((y, x), s) in y.iter_mut().zip(x).zip(s) {
                    *y = *x / Real::max(Real::sqrt(*s), R::of(LEAST));
                }
            });
        });
    }
}
