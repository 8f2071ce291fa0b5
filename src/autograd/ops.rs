//! Forward operations: layers of networks, and losses. What a backward rule needs is saved only where a tracked branch needs it.

mod matrices;

use super::tape::{Kept, Node, NoiseNode, Place, Segment, Tape, Var};
use crate::Result;
use crate::algorithms::noise::{NoiseLayer, Path};
use crate::device::{DType, Tensor};
use crate::kernels::attention::Attention;
use crate::kernels::cross_entropy::CrossEntropy;
use crate::kernels::gemm::{Activation, Gemm, Layout, Mat};
use crate::kernels::glu::{Gate, Glu};
use crate::kernels::inner_product::InnerProduct;
use crate::kernels::layernorm::LayerNorm;
use crate::kernels::mixture::MixtureSoftmax;
use crate::kernels::noise_mix::{Noise, PhiLayout};
use crate::kernels::patch_embed::PatchEmbed;
use crate::kernels::rotary::Rotary;

pub use matrices::Laid;

/// Operands of [`Tape::linear`].
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a> {
    pub weight: &'a Var,
    /// The weight is stored as [out, in] instead of [in, out].
    pub transposed: bool,
    pub bias: Option<&'a Var>,
    pub residual: Option<&'a Var>,
    pub activation: Activation,
}

impl<'a> Linear<'a> {
    pub fn new(weight: &'a Var) -> Self {
        Self { weight, transposed: false, bias: None, residual: None, activation: Activation::None }
    }
}

/// Operands of [`Tape::noise`].
#[derive(Clone, Copy, Debug)]
pub struct NoiseOp<'a> {
    /// What the mixture is added to, if not x itself.
    pub residual: Option<&'a Var>,
    pub proj: &'a Tensor,
    /// [capacity, P]; its gradient is that of the newest module, `[P]`.
    pub phi: &'a Tensor,
    pub weights: Weights<'a>,
    pub layout: PhiLayout,
    pub modules: usize,
    pub noise: Noise,
    pub path: Option<Path>,
}

/// Where a loss goes.
#[derive(Clone, Copy, Debug)]
pub struct Loss<'a> {
    pub loss: &'a Tensor,
    pub slot: usize,
    /// Images of the batch, of which these may be a part.
    pub batch: usize,
    /// Whether this part is added to earlier ones.
    pub accumulate: bool,
}

impl<'a> Loss<'a> {
    /// `loss[slot]`, of all `batch` images at once.
    pub fn new(loss: &'a Tensor, slot: usize, batch: usize) -> Self {
        Self { loss, slot, batch, accumulate: false }
    }
}

/// Operands of [`Tape::patch_embed`].
#[derive(Clone, Copy, Debug)]
pub struct PatchOp<'a> {
    pub images: &'a Tensor,
    /// [C patch^2, d1].
    pub weight: &'a Var,
    /// [P, d1].
    pub front: Option<&'a Var>,
    /// [patches, d1].
    pub pos: &'a Var,
    pub patch: usize,
}

/// Where the mixture weights come from.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// `omega` itself, `[T]`.
    Fixed(&'a Tensor),
    /// `omega = softmax(a)`, logits a `[T]`.
    Softmax(&'a Tensor),
}

impl Tape {
    /// `y = act(x W + b) + r`, all rows of `x` [rows, in] -> [rows, out].
    ///
    /// # Errors
    /// Shape mismatches and device errors; so for all operations.
    pub fn linear(&mut self, x: &Var, op: Linear<'_>) -> Result<Var> {
        let w = &op.weight.value;
        let (layout, outs) = if op.transposed { (Layout::NT, w.rows()) } else { (Layout::NN, w.cols()) };
        let mut shape = x.value.shape().to_vec();
        *shape.last_mut().expect("a matrix") = outs;
        let out = self.device.reals(&shape)?;
        let upstream = x.node.is_some() || op.weight.node.is_some() || op.bias.is_some_and(|b| b.node.is_some());
        let bent = matches!(op.activation, Activation::Gelu | Activation::QuickGelu);
        let pre = if upstream && bent { Some(self.device.reals(&shape)?) } else { None };
        self.device.run(&Gemm {
            bias: op.bias.map(|b| Mat::of(&b.value)),
            residual: op.residual.map(|r| &r.value),
            pre: pre.as_ref(),
            activation: op.activation,
            ..Gemm::new(layout, &x.value, w, &out)?
        })?;
        assert!(op.activation != Activation::Relu || op.residual.is_none(), "ReLU is judged by the output's sign");
        // A half of a small number may be 0, which ReLU would take for another sign.
        let saved = match pre {
            Some(pre) => Some(self.keep(&pre)?),
            None => (op.activation == Activation::Relu).then(|| Kept::Whole(out.clone())),
        };
        let input = if op.weight.node.is_some() { Some(self.keep(&x.value)?) } else { None };
        let tracked = upstream || op.residual.is_some_and(|r| r.node.is_some());
        Ok(self.result(out, tracked, || Node::Linear {
            x: x.into(),
            input,
            weight: op.weight.clone(),
            transposed: op.transposed,
            bias: op.bias.map(Place::from),
            residual: op.residual.map(Place::from),
            activation: op.activation,
            saved,
        }))
    }

    /// All tokens [B * (P + patches), d1] of images [B, C, H, W]: `front`, and each patch times `weight` plus its row of `pos`. No
    /// gradient flows on to the images.
    pub fn patch_embed(&mut self, op: PatchOp<'_>) -> Result<Var> {
        let PatchOp { images, weight, front, pos, patch } = op;
        let batch = images.shape().first().copied().unwrap_or(0);
        let (tokens, d1) = (front.map_or(0, |front| front.value.rows()) + pos.value.rows(), weight.value.cols());
        let out = self.device.reals(&[batch, tokens, d1])?;
        let prefix = front.map(|front| &front.value);
        self.device.run(&PatchEmbed { images, weight: &weight.value, prefix, pos: &pos.value, out: &out, patch })?;
        let tracked = [Some(weight), front, Some(pos)].into_iter().flatten().any(|v| v.node.is_some());
        Ok(self.result(out.reshape(&[batch * tokens, d1]), tracked, || Node::PatchEmbed {
            images: images.clone(),
            weight: weight.into(),
            front: front.map(Place::from),
            pos: pos.into(),
            patch,
        }))
    }

    /// What `segment` makes of x; for the backward pass nothing of it is kept but x: there it is done once more.
    pub fn recomputed(&mut self, x: &Var, segment: Segment) -> Result<Var> {
        let (inner, again) = self.inner(x);
        let y = segment.run(&mut inner.with_halves(false), &again)?;
        let tracked = y.node.is_some();
        let input = if tracked { Some(self.keep(&x.value)?) } else { None };
        let node = || Node::Recomputed { x: x.into(), input: input.expect("kept for a tracked branch"), segment };
        Ok(self.result(y.value, tracked, node))
    }

    /// Layer normalisation over the last dimension.
    pub fn layer_norm(&mut self, x: &Var, gamma: &Var, beta: &Var, eps: f32) -> Result<Var> {
        let out = self.device.reals(x.value.shape())?;
        let tracked = [x, gamma, beta].iter().any(|v| v.node.is_some());
        let stats = if tracked { Some(self.device.reals(&[x.value.rows(), 2])?) } else { None };
        let norm = LayerNorm::new(&x.value, &gamma.value, &beta.value, &out, eps);
        self.device.run(&LayerNorm { stats: stats.as_ref(), ..norm })?;
        let input = if tracked { Some(self.keep(&x.value)?) } else { None };
        Ok(self.result(out, tracked, || Node::LayerNorm {
            x: x.into(),
            input: input.expect("kept for a tracked branch"),
            gamma: gamma.clone(),
            beta: beta.clone(),
            stats: stats.expect("saved for a tracked branch"),
        }))
    }

    /// Multi-head self-attention of `qkv` [batch * tokens, 3 d1] -> [batch * tokens, d1].
    pub fn attention(&mut self, qkv: &Var, batch: usize, tokens: usize, heads: usize) -> Result<Var> {
        self.prefixed_attention(qkv, None, batch, tokens, heads)
    }

    /// The same with a prefix [batch, 2, rows, d1] for each image, keys (index 0) and values of any number of rows in front
    /// of those of the tokens: `softmax(q [PK; k]^T / sqrt d) [PV; v]`. Queries and tokens stay as they are; either operand
    /// may be tracked without the other.
    pub fn prefixed_attention(
        &mut self,
        qkv: &Var,
        prefix: Option<&Var>,
        batch: usize,
        tokens: usize,
        heads: usize,
    ) -> Result<Var> {
        let out = self.device.reals(&[batch * tokens, qkv.value.cols() / 3])?;
        let tracked = qkv.node.is_some() || prefix.is_some_and(|prefix| prefix.node.is_some());
        let lse = if tracked { Some(self.device.reals(&[batch * heads * tokens])?) } else { None };
        self.device.run(&Attention {
            qkv: &qkv.value,
            prefix: prefix.map(|prefix| &prefix.value),
            out: &out,
            lse: lse.as_ref(),
            batch,
            tokens,
            heads,
        })?;
        let kept = if tracked { Some((self.keep(&qkv.value)?, self.keep(&out)?)) } else { None };
        Ok(self.result(out, tracked, || {
            let (inputs, out) = kept.expect("kept for a tracked branch");
            Node::Attention {
                qkv: qkv.into(),
                prefix: prefix.cloned(),
                inputs,
                out,
                lse: lse.expect("saved for a tracked branch"),
                batch,
                tokens,
                heads,
            }
        }))
    }

    /// The noise layer `y = residual + (sum_i omega_i z_i) U` behind a block; z_i are functions of x.
    pub fn noise(&mut self, x: &Var, op: NoiseOp<'_>) -> Result<Var> {
        let (omega, logits) = match op.weights {
            Weights::Fixed(omega) => (omega.clone(), None),
            Weights::Softmax(a) => {
                let omega = self.device.reals(a.shape())?;
                self.device.run(&MixtureSoftmax { logits: a, omega: &omega })?;
                (omega, Some(self.var(a)))
            }
        };
        let layer = NoiseLayer {
            proj: op.proj,
            phi: op.phi,
            omega: &omega,
            layout: op.layout,
            modules: op.modules,
            noise: op.noise,
        };
        let path = op.path.unwrap_or_else(|| layer.path(&self.device, &x.value, false));
        let residual = op.residual.unwrap_or(x);
        let out = layer.forward(&self.device, &x.value, &residual.value, path)?;
        let phi = self.var(op.phi);
        let upstream = [Some(x), Some(&phi), logits.as_ref()].into_iter().flatten().any(|v| v.node.is_some());
        let input = if upstream { Some(self.keep(&x.value)?) } else { None };
        let tracked = upstream || residual.node.is_some();
        Ok(self.result(out, tracked, || {
            Node::Noise(Box::new(NoiseNode {
                x: x.into(),
                input,
                residual: op.residual.map(Place::from),
                phi,
                logits,
                proj: op.proj.clone(),
                omega,
                layout: op.layout,
                modules: op.modules,
                noise: op.noise,
                path: op.path,
            }))
        }))
    }

    /// Turns q and k of `qkv` [batch * tokens, 3 d1] in place, by the angles of `table`: the tensor is that of the result.
    pub fn rotary(&mut self, qkv: Var, table: &Tensor, batch: usize, tokens: usize, heads: usize) -> Result<Var> {
        self.device.run(&Rotary { x: &qkv.value, table, batch, tokens, heads, inverse: false })?;
        let table = table.clone();
        let place = Place::from(&qkv);
        Ok(self.result(qkv.value, qkv.node.is_some(), || Node::Rotary { qkv: place, table, batch, tokens, heads }))
    }

    /// The gate of a gated MLP, `u` = a | b [rows, 2 h] -> gate(a) b [rows, h].
    pub fn glu(&mut self, u: &Var, gate: Gate) -> Result<Var> {
        let out = self.device.reals(&[u.value.rows(), u.value.cols() / 2])?;
        self.device.run(&Glu { gate, u: &u.value, out: &out })?;
        let input = if u.node.is_some() { Some(self.keep(&u.value)?) } else { None };
        let node = || Node::Glu { gate, u: u.into(), input: input.expect("kept for a tracked branch") };
        Ok(self.result(out, u.node.is_some(), node))
    }

    /// Adds `weight sum x y`, over all elements, to what a cross-entropy left in `loss[slot]`; the root that it returns stands
    /// for both.
    pub fn inner_loss(&mut self, x: &Var, y: &Var, weight: f64, (loss, slot): (&Tensor, usize)) -> Result<Var> {
        let (a, b) = (&x.value, &y.value);
        self.device.run(&InnerProduct { x: a, y: b, out: loss, slot, factor: weight, accumulate: true })?;
        let tracked = x.node.is_some() || y.node.is_some();
        Ok(self.result(loss.clone(), tracked, || Node::InnerLoss { x: x.clone(), y: y.clone(), weight }))
    }

    /// Mean softmax cross-entropy, left on the device; returns the root for [`Tape::backward`].
    pub fn cross_entropy(&mut self, logits: &Var, labels: &Tensor, to: Loss<'_>) -> Result<Var> {
        debug_assert_eq!(labels.dtype(), DType::U32);
        let dlogits = self.device.reals(logits.value.shape())?;
        let Loss { loss, slot, batch, accumulate } = to;
        self.device.run(&CrossEntropy {
            logits: &logits.value,
            labels,
            loss,
            slot,
            batch,
            accumulate,
            dlogits: &dlogits,
        })?;
        let tracked = logits.node.is_some();
        Ok(self.result(loss.clone(), tracked, || Node::CrossEntropy { logits: logits.into(), dlogits }))
    }
}
