//! Gradient of the gather of class tokens.

use super::add::elementwise;
use super::class_token::{ClassTokenParams, token_params, tokens};
use crate::Result;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};

/// `dx[b][0] = dy[b]`, zero for all other tokens.
///
/// # Shapes
/// dy [b, d], dx [b, tokens, d].
#[derive(Clone, Copy, Debug)]
pub struct ClassTokenBackward<'a> {
    pub dy: &'a Tensor,
    pub dx: &'a Tensor,
}

impl Kernel for ClassTokenBackward<'_> {
    const NAME: &'static str = "class_token_backward";
    type Params = ClassTokenParams;

    fn params(&self) -> ClassTokenParams {
        token_params(self.dx, self.dx.len())
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [b, _, d] = tokens(Self::NAME, "dx", self.dx)?;
        Ok(vec![read(1, "dy", View::shaped(self.dy, [b, d])), write(2, "dx", View::all(self.dx))])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("class_token_backward", self.dx.len(), caps))
    }
}
