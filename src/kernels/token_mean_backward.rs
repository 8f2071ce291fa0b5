//! Gradient of the mean over tokens.

use std::ops::Range;

use super::add::elementwise;
use super::token_mean::{TokenMeanParams, token_params, tokens};
use crate::Result;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};

/// `dx[b][t] = dy[b] / count` for t in `range` of length count, zero for all other tokens.
///
/// # Shapes
/// dy [b, d], dx [b, tokens, d].
#[derive(Clone, Debug)]
pub struct TokenMeanBackward<'a> {
    pub dy: &'a Tensor,
    pub range: Range<usize>,
    pub dx: &'a Tensor,
}

impl Kernel for TokenMeanBackward<'_> {
    const NAME: &'static str = "token_mean_backward";
    type Params = TokenMeanParams;

    fn params(&self) -> TokenMeanParams {
        token_params(self.dx, &self.range, self.dx.len())
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [b, _, d] = tokens(Self::NAME, "dx", self.dx, &self.range)?;
        Ok(vec![read(1, "dy", View::shaped(self.dy, [b, d])), write(2, "dx", View::all(self.dx))])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("token_mean_backward", self.dx.len(), caps))
    }
}
