//! Rows scaled to length one.

use super::layernorm::workgroup_a_row;
use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

/// Shorter rows are divided by this.
pub const LEAST: f64 = 1e-12;

params! {
    /// Uniforms of `row_unit.wgsl`.
    pub struct RowUnitParams {
        rows: u32,
        cols: u32,
        least: f32,
    }
}

/// `y[r] = x[r] / max(|x[r]|, 1e-12)` with the Euclidean norm. Squares are summed as they are, on a GPU in f32: norms must
/// stay below 1.8e19, the root of its largest number.
///
/// # Shapes
/// x and y [.., d], norms `[rows]`. With d = 0 there is nothing to do.
///
/// Source: `torch.nn.functional.normalize`.
#[derive(Clone, Copy, Debug)]
pub struct RowUnit<'a> {
    pub x: &'a Tensor,
    pub y: &'a Tensor,
    /// Receives `max(|x[r]|, 1e-12)`, for the backward pass.
    pub norms: Option<&'a Tensor>,
}

impl Kernel for RowUnit<'_> {
    const NAME: &'static str = "row_unit";
    type Params = RowUnitParams;

    fn params(&self) -> RowUnitParams {
        RowUnitParams { rows: self.x.rows() as u32, cols: self.x.cols() as u32, least: LEAST as f32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let shape = [self.x.rows(), self.x.cols()];
        let mut all = vec![read(1, "x", View::all(self.x)), write(2, "y", View::shaped(self.y, shape))];
        all.extend(self.norms.map(|norms| write(3, "norms", View::shaped(norms, [shape[0]]))));
        Ok(all)
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let mut plan = workgroup_a_row("row_unit", [self.x.rows(), self.x.cols()], 4, caps);
        plan.constants.push(("NORMS", Constant::Flag(self.norms.is_some())));
        Ok(plan)
    }
}
