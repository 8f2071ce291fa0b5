//! The gate of a gated MLP: SwiGLU and GEGLU.

use super::add::elementwise;
use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `glu.wgsl` and `glu_backward.wgsl`; n counts gated elements.
    pub struct GluParams { n: u32, cols: u32 }
}

/// What the first half goes through before it multiplies the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// `a / (1 + exp(-a))`, as in SwiGLU.
    Silu,
    /// `a Phi(a)`, as in GEGLU.
    Gelu,
}

impl Gate {
    pub(super) fn flag(self) -> (&'static str, Constant) {
        ("GELU", Constant::Flag(self == Self::Gelu))
    }
}

/// `out = gate(a) b` with `u = a | b`.
///
/// # Shapes
/// u [rows, 2 h], out [rows, h].
///
/// Source: Shazeer, "GLU Variants Improve Transformer".
#[derive(Clone, Copy, Debug)]
pub struct Glu<'a> {
    pub gate: Gate,
    pub u: &'a Tensor,
    pub out: &'a Tensor,
}

impl Kernel for Glu<'_> {
    const NAME: &'static str = "glu";
    type Params = GluParams;

    fn params(&self) -> GluParams {
        GluParams { n: self.out.len() as u32, cols: self.out.cols() as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let (rows, cols) = (self.out.rows(), self.out.cols());
        Ok(vec![
            read(1, "u", View::shaped(self.u, [rows, 2 * cols])),
            write(2, "out", View::shaped(self.out, [rows, cols])),
        ])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let mut plan = elementwise("glu", self.out.len(), caps);
        plan.constants.push(self.gate.flag());
        Ok(plan)
    }
}
