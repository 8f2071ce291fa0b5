//! Twin of `scaled_tile`.

use crate::device::{Io, Real, Twin};
use crate::kernels::scaled_tile::ScaledTile;

impl Twin for ScaledTile<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (g, scale, diagonal) = (io.real(0), io.real(1), io.real(2));
        let [f] = io.outs();
        let cols = self.f.cols();
        for (at, f) in f.iter_mut().enumerate() {
            let (row, col) = (self.row0 + at / cols, self.col0 + at % cols);
            *f = if row == col { diagonal[row] + R::of(self.shift.into()) } else { g[at] * scale[row] * scale[col] };
        }
    }
}
