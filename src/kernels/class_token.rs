//! Gathers the class token of every image.

use super::add::elementwise;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Error, Result, params};

params! {
    /// Uniforms of `class_token.wgsl` and `class_token_backward.wgsl`; n counts the written elements.
    pub struct ClassTokenParams {
        n: u32,
        cols: u32,
        tokens: u32,
    }
}

/// `out[b] = x[b][0]`.
///
/// # Shapes
/// x [b, tokens, d], out [b, d].
#[derive(Clone, Copy, Debug)]
pub struct ClassToken<'a> {
    pub x: &'a Tensor,
    pub out: &'a Tensor,
}

/// The shape [b, tokens, d] of tokens.
///
/// # Errors
/// [`Error::Shape`] where it is none, or an image has no token.
pub(super) fn tokens(op: &'static str, arg: &'static str, of: &Tensor) -> Result<[usize; 3]> {
    match of.shape() {
        &[b, tokens, d] if tokens > 0 => Ok([b, tokens, d]),
        other => Err(Error::shape(op, arg, "[b, tokens, d]", other)),
    }
}

/// Uniforms for tokens of shape [b, tokens, cols] when `n` elements are written.
pub(super) fn token_params(all: &Tensor, n: usize) -> ClassTokenParams {
    let &[_, tokens, cols] = all.shape() else { unreachable!("tokens have shape [b, tokens, d]") };
    ClassTokenParams { n: n as u32, cols: cols as u32, tokens: tokens as u32 }
}

impl Kernel for ClassToken<'_> {
    const NAME: &'static str = "class_token";
    type Params = ClassTokenParams;

    fn params(&self) -> ClassTokenParams {
        token_params(self.x, self.out.len())
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [b, _, d] = tokens(Self::NAME, "x", self.x)?;
        Ok(vec![read(1, "x", View::all(self.x)), write(2, "out", View::shaped(self.out, [b, d]))])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("class_token", self.out.len(), caps))
    }
}
