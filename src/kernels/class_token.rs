//! Gathers the class token of every image.

use super::add::elementwise;
use crate::device::{Bound, Caps, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Error, Result, cpu, params};

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

impl<'a> ClassToken<'a> {
    /// # Errors
    /// [`Error::Shape`] where out is not [b, d] for an x of [b, tokens, d].
    pub fn new(x: &'a Tensor, out: &'a Tensor) -> Result<Self> {
        match (x.shape(), out.shape()) {
            (&[b, tokens, d], &[rows, cols]) if tokens > 0 && (rows, cols) == (b, d) => Ok(Self { x, out }),
            _ => Err(Error::shape("class_token", "x", "[b, tokens, d] for an out of [b, d]", x.shape())),
        }
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

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.x), write(2, self.out)]
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("class_token", self.out.len(), caps))
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::class_token::class_token(self, io);
    }
}
