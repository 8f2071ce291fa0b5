//! Twin of `root_ratio_backward`.

use rayon::prelude::*;

use super::add::CHUNK;
use crate::device::{Io, Real, Twin};
use crate::kernels::root_ratio_backward::RootRatioBackward;
use crate::kernels::row_unit::LEAST;

impl Twin for RootRatioBackward<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let [s, y, dy] = [0, 1, 2].map(|i| io.real(i).par_chunks(CHUNK));
        let [dx, ds] = io.outs();
        let least = R::of(LEAST);
        let outs = dx.par_chunks_mut(CHUNK).zip(ds.par_chunks_mut(CHUNK));
        outs.zip(s).zip(y).zip(dy).for_each(|((((dx, ds), s), y), dy)| {
            vectorise!({
                for ((((dx, ds), s), y), dy) in dx.iter_mut().zip(ds).zip(s).zip(y).zip(dy) {
                    *dx = *dy / Real::max(Real::sqrt(*s), least);
                    *ds = if *s > least * least { R::of(-0.5) * *dy * *y / *s } else { R::of(0.0) };
                }
            });
        });
    }
}
