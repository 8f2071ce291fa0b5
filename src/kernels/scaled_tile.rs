//! A tile of a scaled Gram matrix in single precision.

use super::add::elementwise;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `scaled_tile.wgsl`.
    pub struct ScaledTileParams { rows: u32, cols: u32, row0: u32, col0: u32, shift: f32 }
}

/// `f = D G D` for one tile, D = diag(scale), with `diagonal + shift` on the diagonal of the whole matrix.
///
/// # Shapes
/// tile [2, rows, cols] of G from row `row0` and column `col0`, of whose pairs the first parts count; scale `[m]`,
/// diagonal [2, m] likewise; f [rows, cols].
#[derive(Clone, Copy, Debug)]
pub struct ScaledTile<'a> {
    pub tile: &'a Tensor,
    pub scale: &'a Tensor,
    pub diagonal: &'a Tensor,
    pub row0: usize,
    pub col0: usize,
    pub shift: f32,
    pub f: &'a Tensor,
}

impl Kernel for ScaledTile<'_> {
    const NAME: &'static str = "scaled_tile";
    type Params = ScaledTileParams;

    fn params(&self) -> ScaledTileParams {
        ScaledTileParams {
            rows: self.f.rows() as u32,
            cols: self.f.cols() as u32,
            row0: self.row0 as u32,
            col0: self.col0 as u32,
            shift: self.shift,
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [rows, cols] = [self.f.rows(), self.f.cols()];
        let m = self.scale.len();
        Ok(vec![
            read(1, "g", View::shaped(self.tile, [2, rows, cols])),
            read(2, "scale", View::span(self.scale, 0, (self.row0 + rows).max(self.col0 + cols))),
            read(3, "diagonal", View::shaped(self.diagonal, [2, m])),
            write(4, "f", View::all(self.f)),
        ])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("scaled_tile", self.f.len(), caps))
    }
}
