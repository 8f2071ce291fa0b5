//! Powers of two that scale columns.

use super::add::elementwise;
use crate::device::{Bound, Caps, Constant, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Error, Result, cpu, params};

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

impl ColumnUnit<'_> {
    /// The same, its shapes checked.
    ///
    /// # Errors
    /// [`Error::Shape`] where rows lie outside x, or units do not fit its columns.
    pub fn checked(self) -> Result<Self> {
        if self.start + self.rows > self.x.rows() {
            return Err(Error::shape("column_unit", "x", format!("{} rows", self.start + self.rows), self.x.shape()));
        }
        if self.units.shape() != [2, self.x.cols()] {
            return Err(Error::shape("column_unit", "units", [2, self.x.cols()], self.units.shape()));
        }
        Ok(self)
    }
}

impl Kernel for ColumnUnit<'_> {
    const NAME: &'static str = "column_unit";
    type Params = ColumnUnitParams;

    fn params(&self) -> ColumnUnitParams {
        ColumnUnitParams { cols: self.x.cols() as u32, start: self.start as u32, rows: self.rows as u32 }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.x), write(2, self.units)]
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let mut plan = elementwise("column_unit", self.x.cols(), caps);
        plan.constants.push(("BITS", Constant::U32(BITS)));
        Ok(plan)
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::column_unit::column_unit(self, io);
    }
}
