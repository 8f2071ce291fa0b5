//! Twin of `scale_columns`: jobs own some rows.

use rayon::prelude::*;

use super::add::CHUNK;
use crate::device::{Io, Real, Twin};
use crate::kernels::scale_columns::ScaleColumns;

impl Twin for ScaleColumns<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (x, scale) = (io.real(0), io.real(1));
        let [y] = io.outs();
        let cols = self.x.cols();
        if cols == 0 {
            return;
        }
        let rows = (CHUNK / cols).max(1);
        y.par_chunks_mut(rows * cols).zip(x.par_chunks(rows * cols)).for_each(|(y, x)| {
            for (y, x) in y.chunks_exact_mut(cols).zip(x.chunks_exact(cols)) {
                vectorise!({
                    for ((y, x), scale) in y.iter_mut().zip(x).zip(scale) {
                        *y = *x * *scale;
                    }
                });
            }
        });
    }
}
