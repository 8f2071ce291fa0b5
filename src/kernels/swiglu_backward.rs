//! Gradient of the gate of a SwiGLU MLP.

use super::add::elementwise;
use super::swiglu::SwiGluParams;
use crate::Result;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};

/// With `u = a | b` and `s = sigmoid(a)`: `du = dy b s (1 + a (1 - s)) | dy a s`.
///
/// # Shapes
/// u and du [rows, 2 h], dy [rows, h].
#[derive(Clone, Copy, Debug)]
pub struct SwiGluBackward<'a> {
    pub u: &'a Tensor,
    pub dy: &'a Tensor,
    pub du: &'a Tensor,
}

impl Kernel for SwiGluBackward<'_> {
    const NAME: &'static str = "swiglu_backward";
    type Params = SwiGluParams;

    fn params(&self) -> SwiGluParams {
        SwiGluParams { n: self.dy.len() as u32, cols: self.dy.cols() as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let (rows, cols) = (self.dy.rows(), self.dy.cols());
        let [u, du] = [self.u, self.du].map(|x| View::shaped(x, [rows, 2 * cols]));
        Ok(vec![read(1, "u", u), read(2, "dy", View::shaped(self.dy, [rows, cols])), write(3, "du", du)])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("swiglu_backward", self.dy.len(), caps))
    }
}
