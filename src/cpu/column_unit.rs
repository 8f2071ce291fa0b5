//! Twin of `column_unit`.

use crate::device::{Io, Real, Twin};
use crate::kernels::column_unit::{BITS, ColumnUnit};

impl Twin for ColumnUnit<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let x = io.real(0);
        let [units] = io.outs();
        let cols = self.x.cols();
        for j in 0..cols {
            let column = x.iter().skip(self.start * cols + j).step_by(cols.max(1)).take(self.rows);
            let largest = column.map(|x| x.get().abs()).fold(0.0, f64::max);
            let mut e = -110;
            while largest >= f64::powi(2.0, e) {
                e += 1;
            }
            units[j] = R::of(f64::powi(2.0, BITS as i32 - e));
            units[cols + j] = R::of(f64::powi(2.0, e - BITS as i32));
        }
    }
}
