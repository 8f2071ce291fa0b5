//! Twin of `cholesky_block`.

use crate::device::{Io, Real, Twin};
use crate::kernels::cholesky_block::CholeskyBlock;

impl Twin for CholeskyBlock<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let m = self.g.cols();
        let [g, info] = io.outs();
        let at = |row: usize, col: usize| (self.start + row) * m + self.start + col;
        for col in 0..self.size {
            for row in col..self.size {
                let sum: R = (0..col).map(|k| g[at(row, k)] * g[at(col, k)]).sum();
                g[at(row, col)] -= sum;
            }
            let pivot = g[at(col, col)];
            let usable = pivot.get() >= f64::from(f32::MIN_POSITIVE) && pivot.get().is_finite();
            if !usable && info[0] < R::of(0.0) {
                info[0] = R::of((self.first + self.start + col) as f64);
                info[1] = pivot;
            }
            let diagonal = Real::sqrt(pivot);
            g[at(col, col)] = diagonal;
            (col + 1..self.size).for_each(|row| g[at(row, col)] /= diagonal);
        }
    }
}
