//! Twin of `scale_columns`.

use crate::device::{Io, Real, Twin};
use crate::kernels::scale_columns::ScaleColumns;

impl Twin for ScaleColumns<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (x, scale) = (io.real(0), io.real(1));
        let [y] = io.outs();
        for (i, (y, x)) in y.iter_mut().zip(x).enumerate() {
            *y = *x * scale[i % self.x.cols()];
        }
    }
}
