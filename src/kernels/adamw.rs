//! One step of Adam with decoupled weight decay.

use super::add::elementwise;
use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `adamw.wgsl`.
    pub struct AdamWParams {
        n: u32,
        offset: u32,
        beta1: f32,
        rest1: f32,
        beta2: f32,
        rest2: f32,
        keep: f32,
        rate: f32,
        spread: f32,
        eps: f32,
    }
}

/// For p in `param[offset..offset + n]` and step t, counted from 1:
/// `m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2`,
/// `p = (1 - lr weight_decay) p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)`, with `g = grad`,
/// or `clip[0] grad` where it is clipped.
///
/// # Shapes
/// grad, m and v hold n elements, param at least offset + n, clip at least 1.
///
/// Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", algorithm 2, as in `torch.optim.AdamW`.
#[derive(Clone, Copy, Debug)]
pub struct AdamW<'a> {
    pub param: &'a Tensor,
    pub offset: usize,
    pub grad: &'a Tensor,
    /// What [`ClipFactor`](super::clip_factor::ClipFactor) made of all gradients.
    pub clip: Option<&'a Tensor>,
    pub m: &'a Tensor,
    pub v: &'a Tensor,
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    /// The number of this step, from 1.
    pub step: u32,
}

/// Factors that all elements of one step share.
#[derive(Clone, Copy, Debug)]
pub struct Factors {
    /// `1 - lr weight_decay`.
    pub keep: f64,
    /// `lr / (1 - beta1^t)`.
    pub rate: f64,
    /// `1 / sqrt(1 - beta2^t)`.
    pub spread: f64,
}

impl AdamW<'_> {
    pub fn factors(&self) -> Factors {
        debug_assert!(self.step > 0, "steps count from 1");
        let correction = |beta: f64| 1.0 - beta.powi(self.step as i32);
        Factors {
            keep: 1.0 - self.lr * self.weight_decay,
            rate: self.lr / correction(self.beta1),
            spread: correction(self.beta2).sqrt().recip(),
        }
    }
}

impl Kernel for AdamW<'_> {
    const NAME: &'static str = "adamw";
    type Params = AdamWParams;

    fn params(&self) -> AdamWParams {
        let Factors { keep, rate, spread } = self.factors();
        AdamWParams {
            n: self.grad.len() as u32,
            offset: self.offset as u32,
            beta1: self.beta1 as f32,
            rest1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            rest2: (1.0 - self.beta2) as f32,
            keep: keep as f32,
            rate: rate as f32,
            spread: spread as f32,
            eps: self.eps as f32,
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let n = self.grad.len();
        let [grad, m, v] = [self.grad, self.m, self.v].map(|x| View::shaped(x, [n]));
        let param = View::span(self.param, self.offset, n);
        let mut all = vec![read(1, "grad", grad)];
        all.extend(self.clip.map(|clip| read(2, "clip", View::span(clip, 0, 1))));
        all.extend([write(3, "param", param), write(4, "first", m), write(5, "second", v)]);
        Ok(all)
    }

    fn flops(&self) -> f64 {
        14.0 * self.grad.len() as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let mut plan = elementwise("adamw", self.grad.len(), caps);
        plan.constants.push(("CLIPPED", Constant::Flag(self.clip.is_some())));
        Ok(plan)
    }
}
