//! One step of stochastic gradient descent with momentum.

use super::add::elementwise;
use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

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

/// `g = grad + weight_decay p; v = momentum v + g; p -= lr v` for p in `param[offset..offset + n]`, with `clip[0] grad`
/// for grad where it is clipped.
///
/// # Shapes
/// grad and velocity hold n elements, param at least offset + n, clip at least 1.
///
/// Source: `torch.optim.SGD` without dampening and Nesterov; a velocity of zeros is its first step.
#[derive(Clone, Copy, Debug)]
pub struct Sgd<'a> {
    pub param: &'a Tensor,
    pub offset: usize,
    pub grad: &'a Tensor,
    /// What [`ClipFactor`](super::clip_factor::ClipFactor) made of all gradients.
    pub clip: Option<&'a Tensor>,
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

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let n = self.grad.len();
        let [grad, velocity] = [self.grad, self.velocity].map(|x| View::shaped(x, [n]));
        let param = View::span(self.param, self.offset, n);
        let mut all = vec![read(1, "grad", grad)];
        all.extend(self.clip.map(|clip| read(2, "clip", View::span(clip, 0, 1))));
        all.extend([write(3, "param", param), write(4, "velocity", velocity)]);
        Ok(all)
    }

    fn flops(&self) -> f64 {
        6.0 * self.grad.len() as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let mut plan = elementwise("sgd", self.grad.len(), caps);
        plan.constants.push(("CLIPPED", Constant::Flag(self.clip.is_some())));
        Ok(plan)
    }
}
