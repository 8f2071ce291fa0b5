//! Twin of `row_unit_backward`.

use rayon::prelude::*;

use super::layernorm::{BLOCK, sum_pairs};
use crate::device::{Io, Real, Twin};
use crate::kernels::row_unit::LEAST;
use crate::kernels::row_unit_backward::RowUnitBackward;

impl Twin for RowUnitBackward<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let [y, norms, dy] = [0, 1, 2].map(|i| io.real(i));
        let [dx] = io.outs();
        let cols = self.y.cols();
        if cols == 0 {
            return;
        }
        let rows = (BLOCK / cols).max(1);
        dx.par_chunks_mut(rows * cols).enumerate().for_each(|(block, dx)| {
            for (i, dx) in dx.chunks_exact_mut(cols).enumerate() {
                let row = block * rows + i;
                let (y, dy, norm) = (&y[row * cols..][..cols], &dy[row * cols..][..cols], norms[row]);
                vectorise!({
                    let along = if norm > R::of(LEAST) { sum_pairs(y, dy, |y, dy| y * dy) } else { R::of(0.0) };
                    if !self.accumulate {
                        dx.fill(R::of(0.0));
                    }
                    for ((dx, y), dy) in dx.iter_mut().zip(y).zip(dy) {
                        *dx += (*dy - *y * along) / norm;
                    }
                });
            }
        });
    }
}
