//! A tile of a scaled Gram matrix in single precision.

use super::add::elementwise;
use crate::device::{Bound, Caps, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Error, Result, cpu, params};

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

impl ScaledTile<'_> {
    /// The same, its shapes checked.
    ///
    /// # Errors
    /// [`Error::Shape`] where they do not fit together.
    pub fn checked(self) -> Result<Self> {
        let (m, [rows, cols]) = (self.scale.len(), [self.f.rows(), self.f.cols()]);
        if self.tile.shape() != [2, rows, cols] || self.row0 + rows > m || self.col0 + cols > m {
            return Err(Error::shape("scaled_tile", "tile", [2, rows, cols], self.tile.shape()));
        }
        if self.diagonal.shape() != [2, m] {
            return Err(Error::shape("scaled_tile", "diagonal", [2, m], self.diagonal.shape()));
        }
        Ok(self)
    }
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

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.tile), read(2, self.scale), read(3, self.diagonal), write(4, self.f)]
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("scaled_tile", self.f.len(), caps))
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::scaled_tile::scaled_tile(self, io);
    }
}
