//! Gradient of the gate of a gated MLP.

use super::add::elementwise;
use super::glu::{Gate, GluParams};
use crate::Result;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};

/// With `u = a | b`: `du = dy b gate'(a) | dy gate(a)`; for SiLU `gate'(a) = s (1 + a (1 - s))` with `s = sigmoid(a)`, for
/// GELU `Phi(a) + a phi(a)`.
///
/// # Shapes
/// u and du [rows, 2 h], dy [rows, h].
#[derive(Clone, Copy, Debug)]
pub struct GluBackward<'a> {
    pub gate: Gate,
    pub u: &'a Tensor,
    pub dy: &'a Tensor,
    pub du: &'a Tensor,
}

impl Kernel for GluBackward<'_> {
    const NAME: &'static str = "glu_backward";
    type Params = GluParams;

    fn params(&self) -> GluParams {
        GluParams { n: self.dy.len() as u32, cols: self.dy.cols() as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let (rows, cols) = (self.dy.rows(), self.dy.cols());
        let [u, du] = [self.u, self.du].map(|x| View::shaped(x, [rows, 2 * cols]));
        Ok(vec![read(1, "u", u), read(2, "dy", View::shaped(self.dy, [rows, cols])), write(3, "du", du)])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let mut plan = elementwise("glu_backward", self.dy.len(), caps);
        plan.constants.push(self.gate.flag());
        Ok(plan)
    }
}
