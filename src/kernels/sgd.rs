//! One step of stochastic gradient descent with momentum.

use super::add::elementwise;
use crate::device::{Bound, Caps, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Result, cpu, params};

params! {
    /// Uniforms of `sgd.wgsl`.
    pub struct SgdParams {
        n: u32,
        offset: u32,
        lr: f32,
        momentum: f32,
        weight_decay: f32,
    }
}

/// `g = grad + weight_decay p; v = momentum v + g; p -= lr v` for p in `param[offset..offset + n]`.
///
/// # Shapes
/// grad and velocity hold n elements, param at least offset + n.
///
/// Source: `torch.optim.SGD` without dampening and Nesterov; a velocity of zeros is its first step.
#[derive(Clone, Copy, Debug)]
pub struct Sgd<'a> {
    pub param: &'a Tensor,
    pub offset: usize,
    pub grad: &'a Tensor,
    pub velocity: &'a Tensor,
    pub lr: f64,
    pub momentum: f64,
    pub weight_decay: f64,
}

impl Kernel for Sgd<'_> {
    const NAME: &'static str = "sgd";
    type Params = SgdParams;

    fn params(&self) -> SgdParams {
        SgdParams {
            n: self.grad.len() as u32,
            offset: self.offset as u32,
            lr: self.lr as f32,
            momentum: self.momentum as f32,
            weight_decay: self.weight_decay as f32,
        }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        debug_assert_eq!(self.velocity.len(), self.grad.len());
        debug_assert!(self.offset + self.grad.len() <= self.param.len());
        vec![read(1, self.grad), write(2, self.param), write(3, self.velocity)]
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("sgd", self.grad.len(), caps))
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::sgd::sgd(self, io);
    }
}
