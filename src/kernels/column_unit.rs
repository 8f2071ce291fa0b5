//! Powers of two that scale columns.

use super::add::elementwise;
use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

/// Scaled columns stay below `2^BITS`.
pub const BITS: u32 = 9;

params! {
    /// Uniforms of `column_unit.wgsl`.
    pub struct ColumnUnitParams { cols: u32, start: u32, rows: u32 }
}

/// `units[0][j] = 2^(BITS - e)` and `units[1][j] = 2^(e - BITS)` with the smallest e such that all of column j is below
/// `2^e` in size; e is at least -110.
///
/// # Shapes
/// x [.., cols], of which `rows` rows from row `start` count; units [2, cols].
#[derive(Clone, Copy, Debug)]
pub struct ColumnUnit<'a> {
    pub x: &'a Tensor,
    pub start: usize,
    pub rows: usize,
    pub units: &'a Tensor,
}

impl Kernel for ColumnUnit<'_> {
    const NAME: &'static str = "column_unit";
    type Params = ColumnUnitParams;

    fn params(&self) -> ColumnUnitParams {
        ColumnUnitParams { cols: self.x.cols() as u32, start: self.start as u32, rows: self.rows as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let cols = self.x.cols();
        let x = View::part(self.x, self.start * cols, [self.rows, cols], cols);
        Ok(vec![read(1, "x", x), write(2, "units", View::shaped(self.units, [2, cols]))])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let mut plan = elementwise("column_unit", self.x.cols(), caps);
        plan.constants.push(("BITS", Constant::U32(BITS)));
        Ok(plan)
    }
}
