//! Twin of `scaled_tile`.

use crate::device::{Io, Real};
use crate::kernels::scaled_tile::ScaledTile;

pub fn scaled_tile<R: Real>(k: &ScaledTile<'_>, io: Io<'_, R>) {
    let (g, scale, diagonal) = (io.real(0), io.real(1), io.real(2));
    let [f] = io.outs();
    let cols = k.f.cols();
    for (at, f) in f.iter_mut().enumerate() {
        let (row, col) = (k.row0 + at / cols, k.col0 + at % cols);
        *f = if row == col { diagonal[row] + R::of(k.shift.into()) } else { g[at] * scale[row] * scale[col] };
    }
}
