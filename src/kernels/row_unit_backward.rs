//! Gradient of rows scaled to length one.

use super::layernorm::workgroup_a_row;
use super::row_unit::LEAST;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `row_unit_backward.wgsl`.
    pub struct RowUnitBackwardParams {
        rows: u32,
        cols: u32,
        accumulate: u32,
        least: f32,
    }
}

/// `dx[r] (+)= (dy[r] - y[r] <y[r], dy[r]>) / norms[r]`, and `dx[r] (+)= dy[r] / norms[r]` where `norms[r]` is not above
/// 1e-12: such rows were divided by a constant.
///
/// # Shapes
/// y, dy and dx [.., d]; y and norms `[rows]` as [`super::row_unit::RowUnit`] wrote them.
///
/// Source: gradient of `torch.nn.functional.normalize`, whose `clamp_min` passes none to the norms that it raises.
#[derive(Clone, Copy, Debug)]
pub struct RowUnitBackward<'a> {
    pub y: &'a Tensor,
    pub norms: &'a Tensor,
    pub dy: &'a Tensor,
    pub dx: &'a Tensor,
    /// Adds to `dx` instead of overwriting it.
    pub accumulate: bool,
}

impl Kernel for RowUnitBackward<'_> {
    const NAME: &'static str = "row_unit_backward";
    type Params = RowUnitBackwardParams;

    fn params(&self) -> RowUnitBackwardParams {
        RowUnitBackwardParams {
            rows: self.y.rows() as u32,
            cols: self.y.cols() as u32,
            accumulate: self.accumulate.into(),
            least: LEAST as f32,
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let shape = [self.y.rows(), self.y.cols()];
        Ok(vec![
            read(1, "y", View::all(self.y)),
            read(2, "norms", View::shaped(self.norms, [shape[0]])),
            read(3, "dy", View::shaped(self.dy, shape)),
            write(4, "dx", View::shaped(self.dx, shape)),
        ])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(workgroup_a_row("row_unit_backward", [self.y.rows(), self.y.cols()], 4, caps))
    }
}
