//! Gradient of an activation: `dx = dy act'(saved)`.

use super::add::elementwise;
use super::gemm::Activation;
use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Error, Result, params};

params! {
    /// Uniforms of `activation_backward.wgsl`.
    pub struct ActivationBackwardParams {
        n: u32,
    }
}

/// `dx = dy * act'(saved)`: `Phi(z) + z phi(z)` for GELU, `s + 1.702 z s (1 - s)` with `s = sigmoid(1.702 z)` for
/// QuickGELU, where saved = z, the value before the activation; 1 or 0 by the sign for ReLU, where saved may be the value
/// before or after it.
///
/// # Shapes
/// All three hold equally many elements.
#[derive(Clone, Copy, Debug)]
pub struct ActivationBackward<'a> {
    /// Without an activation the gradient is dy itself.
    pub activation: Activation,
    pub saved: &'a Tensor,
    pub dy: &'a Tensor,
    pub dx: &'a Tensor,
}

impl Kernel for ActivationBackward<'_> {
    const NAME: &'static str = "activation_backward";
    type Params = ActivationBackwardParams;

    fn params(&self) -> ActivationBackwardParams {
        ActivationBackwardParams { n: self.dx.len() as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        if self.activation == Activation::None {
            return Err(Error::Unsupported("activation_backward: there is no activation".into()));
        }
        let n = self.dx.len();
        let [saved, dy, dx] = [self.saved, self.dy, self.dx].map(|x| View::shaped(x, [n]));
        Ok(vec![read(1, "saved", saved), read(2, "dy", dy), write(3, "dx", dx)])
    }

    fn flops(&self) -> f64 {
        let each = if self.activation == Activation::Relu { 1.0 } else { 16.0 };
        each * self.dx.len() as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let mut plan = elementwise("activation_backward", self.dx.len(), caps);
        let is = |activation| Constant::Flag(self.activation == activation);
        plan.constants.extend([("GELU", is(Activation::Gelu)), ("QUICK", is(Activation::QuickGelu))]);
        Ok(plan)
    }
}
