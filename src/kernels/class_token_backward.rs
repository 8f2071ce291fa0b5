//! Gradient of the gather of class tokens.

use super::add::elementwise;
use super::class_token::{ClassTokenParams, token_params};
use crate::device::{Bound, Caps, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Error, Result, cpu};

/// `dx[b][0] = dy[b]`, zero for all other tokens.
///
/// # Shapes
/// dy [b, d], dx [b, tokens, d].
#[derive(Clone, Copy, Debug)]
pub struct ClassTokenBackward<'a> {
    pub dy: &'a Tensor,
    pub dx: &'a Tensor,
}

impl<'a> ClassTokenBackward<'a> {
    /// # Errors
    /// [`Error::Shape`] where dx is not [b, tokens, d] for a dy of [b, d].
    pub fn new(dy: &'a Tensor, dx: &'a Tensor) -> Result<Self> {
        match (dy.shape(), dx.shape()) {
            (&[rows, cols], &[b, _, d]) if (rows, cols) == (b, d) => Ok(Self { dy, dx }),
            _ => Err(Error::shape("class_token_backward", "dx", "[b, tokens, d] for a dy of [b, d]", dx.shape())),
        }
    }
}

impl Kernel for ClassTokenBackward<'_> {
    const NAME: &'static str = "class_token_backward";
    type Params = ClassTokenParams;

    fn params(&self) -> ClassTokenParams {
        token_params(self.dx, self.dx.len())
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.dy), write(2, self.dx)]
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("class_token_backward", self.dx.len(), caps))
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::class_token_backward::class_token_backward(self, io);
    }
}
