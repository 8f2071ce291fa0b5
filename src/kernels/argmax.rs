//! Index of the largest element of each row.

use super::layernorm::workgroup_a_row;
use crate::device::{Caps, DType, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Error, Result, params};

params! {
    /// Uniforms of `argmax.wgsl`.
    pub struct ArgMaxParams {
        rows: u32,
        cols: u32,
    }
}

/// `out[b]` = the lowest j that maximises `x[b][j]`.
///
/// # Shapes
/// x [b, c], c > 0, out `[b]` of integers.
#[derive(Clone, Copy, Debug)]
pub struct ArgMax<'a> {
    pub x: &'a Tensor,
    pub out: &'a Tensor,
}

impl Kernel for ArgMax<'_> {
    const NAME: &'static str = "argmax";
    type Params = ArgMaxParams;

    fn params(&self) -> ArgMaxParams {
        ArgMaxParams { rows: self.x.rows() as u32, cols: self.x.cols() as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        if self.x.cols() == 0 {
            return Err(Error::shape(Self::NAME, "x", "at least one column", self.x.shape()));
        }
        let out = View::shaped(self.out, [self.x.rows()]);
        Ok(vec![read(1, "x", View::all(self.x)), write(2, "out", out).of(DType::U32)])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(workgroup_a_row("argmax", [self.x.rows(), self.x.cols()], 8, caps))
    }
}
