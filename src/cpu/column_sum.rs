//! Twin of `column_sum`: jobs own blocks of columns.

use rayon::prelude::*;

use crate::device::{Io, Real, Twin};
use crate::kernels::column_sum::ColumnSum;

/// Columns that one job takes.
const COLS: usize = 64;

impl Twin for ColumnSum<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let x = io.real(0);
        let normalised = self.normalised.map(|_| (io.real(1), io.real(2)));
        let [out] = io.outs();
        let scale = R::of(self.scale);
        out[self.out_offset..][..self.cols].par_chunks_mut(COLS).enumerate().for_each(|(block, out)| {
            let (col, cols) = (block * COLS, out.len());
            let mut sums = [R::of(0.0); COLS];
            vectorise!({
                for row in 0..self.rows {
                    let x = &x[self.x_offset + row * self.x_ld + col..][..cols];
                    match normalised {
                        None => {
                            for (sum, x) in sums.iter_mut().zip(x) {
                                *sum += *x;
                            }
                        }
                        Some((z, stats)) => {
                            let z = &z[row * self.cols + col..][..cols];
                            let (mean, rstd) = (stats[2 * row], stats[2 * row + 1]);
                            for ((sum, x), z) in sums.iter_mut().zip(x).zip(z) {
                                *sum += *x * ((*z - mean) * rstd);
                            }
                        }
                    }
                }
            });
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = if self.accumulate { *out + scale * sum } else { scale * sum };
            }
        });
    }
}
