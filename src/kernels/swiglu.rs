//! The gate of a SwiGLU MLP.

use super::add::elementwise;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `swiglu.wgsl` and `swiglu_backward.wgsl`; n counts gated elements.
    pub struct SwiGluParams { n: u32, cols: u32 }
}

/// `out = silu(a) b` with `u = a | b`, `silu(a) = a / (1 + exp(-a))`.
///
/// # Shapes
/// u [rows, 2 h], out [rows, h].
///
/// Source: Shazeer, "GLU Variants Improve Transformer".
#[derive(Clone, Copy, Debug)]
pub struct SwiGlu<'a> {
    pub u: &'a Tensor,
    pub out: &'a Tensor,
}

impl Kernel for SwiGlu<'_> {
    const NAME: &'static str = "swiglu";
    type Params = SwiGluParams;

    fn params(&self) -> SwiGluParams {
        SwiGluParams { n: self.out.len() as u32, cols: self.out.cols() as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let (rows, cols) = (self.out.rows(), self.out.cols());
        Ok(vec![
            read(1, "u", View::shaped(self.u, [rows, 2 * cols])),
            write(2, "out", View::shaped(self.out, [rows, cols])),
        ])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("swiglu", self.out.len(), caps))
    }
}
