//! Index of the largest element of each row.

use super::layernorm::rowwise;
use crate::device::{Bound, Caps, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Error, Result, cpu, params};

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

impl<'a> ArgMax<'a> {
    /// # Errors
    /// [`Error::Shape`] where there is no column, or not one place in out for each row.
    pub fn new(x: &'a Tensor, out: &'a Tensor) -> Result<Self> {
        if x.cols() == 0 {
            return Err(Error::shape("argmax", "x", "at least one column", x.shape()));
        }
        if out.len() != x.rows() {
            return Err(Error::shape("argmax", "out", [x.rows()], out.shape()));
        }
        Ok(Self { x, out })
    }
}

impl Kernel for ArgMax<'_> {
    const NAME: &'static str = "argmax";
    type Params = ArgMaxParams;

    fn params(&self) -> ArgMaxParams {
        ArgMaxParams { rows: self.x.rows() as u32, cols: self.x.cols() as u32 }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.x), write(2, self.out)]
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(rowwise("argmax", [self.x.rows(), self.x.cols()], 8, caps))
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::argmax::argmax(self, io);
    }
}
