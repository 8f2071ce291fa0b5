//! Twin of `scale_columns`.

use crate::device::{Io, Real};
use crate::kernels::scale_columns::ScaleColumns;

pub fn scale_columns<R: Real>(k: &ScaleColumns<'_>, io: Io<'_, R>) {
    let (x, scale) = (io.real(0), io.real(1));
    let [y] = io.outs();
    for (i, (y, x)) in y.iter_mut().zip(x).enumerate() {
        *y = *x * scale[i % k.x.cols()];
    }
}
