//! Twin of `cholesky_block`.

use crate::device::{Io, Real};
use crate::kernels::cholesky_block::CholeskyBlock;

pub fn cholesky_block<R: Real>(c: &CholeskyBlock<'_>, io: Io<'_, R>) {
    let m = c.g.cols();
    let [g, info] = io.outs();
    let at = |row: usize, col: usize| (c.start + row) * m + c.start + col;
    for col in 0..c.size {
        for row in col..c.size {
            let sum: R = (0..col).map(|k| g[at(row, k)] * g[at(col, k)]).sum();
            g[at(row, col)] -= sum;
        }
        let pivot = g[at(col, col)];
        let usable = pivot.get() >= f64::from(f32::MIN_POSITIVE) && pivot.get().is_finite();
        if !usable && info[0] < R::of(0.0) {
            info[0] = R::of((c.first + c.start + col) as f64);
            info[1] = pivot;
        }
        let diagonal = Real::sqrt(pivot);
        g[at(col, col)] = diagonal;
        (col + 1..c.size).for_each(|row| g[at(row, col)] /= diagonal);
    }
}
