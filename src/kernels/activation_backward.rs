//! Gradient of an activation: `dx = dy act'(saved)`.

use super::add::elementwise;
use super::gemm::Activation;
use crate::device::{Bound, Caps, Constant, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Error, Result, cpu, params};

params! {
    /// Uniforms of `activation_backward.wgsl`.
    pub struct ActivationBackwardParams {
        n: u32,
    }
}

/// `dx = dy * act'(saved)`: `Phi(z) + z phi(z)` for GELU, where saved = z, the value before the activation; 1 or 0 by
/// the sign for ReLU, where saved may be the value before or after it.
///
/// # Shapes
/// All three hold equally many elements.
#[derive(Clone, Copy, Debug)]
pub struct ActivationBackward<'a> {
    /// GELU or ReLU; without an activation the gradient is dy itself.
    pub activation: Activation,
    pub saved: &'a Tensor,
    pub dy: &'a Tensor,
    pub dx: &'a Tensor,
}

impl<'a> ActivationBackward<'a> {
    /// # Errors
    /// [`Error::Shape`] where the sizes differ, [`Error::Unsupported`] for [`Activation::None`].
    pub fn new(activation: Activation, saved: &'a Tensor, dy: &'a Tensor, dx: &'a Tensor) -> Result<Self> {
        if activation == Activation::None {
            return Err(Error::Unsupported("activation_backward: there is no activation".into()));
        }
        for (name, tensor) in [("saved", saved), ("dx", dx)] {
            if tensor.len() != dy.len() {
                return Err(Error::shape("activation_backward", name, dy.shape(), tensor.shape()));
            }
        }
        Ok(Self { activation, saved, dy, dx })
    }
}

impl Kernel for ActivationBackward<'_> {
    const NAME: &'static str = "activation_backward";
    type Params = ActivationBackwardParams;

    fn params(&self) -> ActivationBackwardParams {
        ActivationBackwardParams { n: self.dx.len() as u32 }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.saved), read(2, self.dy), write(3, self.dx)]
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let mut plan = elementwise("activation_backward", self.dx.len(), caps);
        plan.constants.push(("GELU", Constant::Flag(self.activation == Activation::Gelu)));
        Ok(plan)
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::activation_backward::activation_backward(self, io);
    }
}
