//! All backward rules in one `match`. The first contribution to a gradient writes it, later ones add.

mod pending;

use std::collections::HashMap;

use super::tape::{Node, Tape, Var};
use crate::Result;
use crate::algorithms::noise::NoiseLayer;
use crate::device::Tensor;
use crate::kernels::activation_backward::ActivationBackward;
use crate::kernels::attention_backward_key::{AttentionBackwardKey, Keys};
use crate::kernels::attention_backward_query::AttentionBackwardQuery;
use crate::kernels::column_sum::ColumnSum;
use crate::kernels::copy_block::CopyBlock;
use crate::kernels::dropout::Dropout;
use crate::kernels::gemm::{Activation, Gemm, Layout, Mat};
use crate::kernels::glu_backward::GluBackward;
use crate::kernels::layernorm_backward::LayerNormBackward;
use crate::kernels::mixture_backward::MixtureBackward;
use crate::kernels::multiply::Multiply;
use crate::kernels::root_ratio_backward::RootRatioBackward;
use crate::kernels::rotary::Rotary;
use crate::kernels::row_unit_backward::RowUnitBackward;
use crate::kernels::scale_columns::ScaleColumns;
use crate::kernels::token_mean_backward::TokenMeanBackward;
use crate::kernels::unfold::Unfold;

use pending::{Pending, column_sum};

/// Gradients of the tracked tensors.
#[derive(Debug, Default)]
pub struct Gradients(HashMap<usize, Tensor>);

impl Gradients {
    /// The gradient with respect to a tracked tensor, if the loss depends on it.
    pub fn of(&self, tensor: &Tensor) -> Option<&Tensor> {
        self.0.get(&tensor.id())
    }
}

impl Tape {
    /// Gradients of `root`, the last of the losses on the tape, with those before it, with respect to the tracked tensors.
    ///
    /// # Errors
    /// Device errors.
    pub fn backward(self, root: &Var) -> Result<Gradients> {
        self.backward_onto(root, Gradients::default())
    }

    /// The same, added to those of earlier parts of the batch by a tape that tracked the same tensors.
    ///
    /// # Errors
    /// Device errors.
    pub fn backward_onto(self, root: &Var, earlier: Gradients) -> Result<Gradients> {
        let mut grads = vec![None; self.nodes.len()];
        for (id, grad) in earlier.0 {
            grads[self.leaves[&id]] = Some(grad);
        }
        self.sweep(root.node, grads)
    }

    /// From node `last` back to the leaves, of which some may have a gradient already.
    fn sweep(mut self, last: Option<usize>, grads: Vec<Option<Tensor>>) -> Result<Gradients> {
        let device = self.device.clone();
        let mut pending = Pending { device: device.clone(), grads };
        let mut leaves = HashMap::new();
        let owner: HashMap<usize, usize> = self.leaves.iter().map(|(&id, &node)| (node, id)).collect();
        self.nodes.truncate(last.map_or(self.leaves.len(), |node| node + 1));
        for at in (0..self.nodes.len()).rev() {
            let node = self.nodes.pop().expect("one node a step");
            let _part = self.parts.get(&at).map(|part| device.part(part.name, part.index));
            match &node {
                Node::CrossEntropy { logits, dlogits } => {
                    // dL/dlogits = (softmax - onehot) / B, made in the forward pass.
                    pending.give(logits.node, dlogits)?;
                    continue;
                }
                // L = w <x, y>:  dx = w y;  dy = w x
                Node::InnerLoss { x, y, weight } => {
                    for (of, other) in [(x, &y.value), (y, &x.value)] {
                        if let Some((dx, accumulate)) = pending.sink(of)? {
                            let (rows, cols, factor) = (other.rows(), other.cols(), *weight);
                            let (x, out) = (Mat::of(other), Mat::of(&dx));
                            device.run(&CopyBlock { x, out, rows, cols, factor, accumulate })?;
                        }
                    }
                    continue;
                }
                _ => {}
            }
            let Some(dy) = pending.grads[at].take() else { continue };
            match node {
                Node::CrossEntropy { .. } | Node::InnerLoss { .. } => unreachable!("handled above"),
                Node::Leaf => {
                    leaves.insert(owner[&at], dy);
                }
                // y = act(u) + r, u = x W + b:  dr = dy;  du = dy act'(u);  dx = du W^T;  dW = x^T du;  db = sum du
                Node::Linear { x, input, weight, transposed, bias, residual, activation, saved } => {
                    let du = match (activation, &saved) {
                        (Activation::None, _) | (_, None) => dy.clone(),
                        (_, Some(saved)) => {
                            let (saved, du) = (saved.value(&device)?, device.reals(dy.shape())?);
                            device.run(&ActivationBackward { activation, saved: &saved, dy: &dy, dx: &du })?;
                            du
                        }
                    };
                    if let Some((dx, accumulate)) = pending.sink(x)? {
                        let layout = if transposed { Layout::NN } else { Layout::NT };
                        device.run(&Gemm { accumulate, ..Gemm::new(layout, &du, &weight.value, &dx)? })?;
                    }
                    if let (Some(input), Some((dw, accumulate))) = (&input, pending.sink(&weight)?) {
                        let x = &input.value(&device)?;
                        let (a, b) = if transposed { (&du, x) } else { (x, &du) };
                        Gemm { accumulate, ..Gemm::new(Layout::TN, a, b, &dw)? }.run(&device)?;
                    }
                    if let Some(bias) = bias {
                        column_sum(&mut pending, bias, &du, None)?;
                    }
                    if let Some(residual) = residual {
                        // Last: the residual's gradient takes dy over and may be added to from now on.
                        pending.give(residual.node, &dy)?;
                    }
                }
                // y_b = [front; patches_b W + pos]:  dW = sum_b patches_b^T dy_b;  dfront and dpos are sums over b of rows of dy.
                Node::PatchEmbed { images, weight, front, pos, patch } => {
                    let (batch, mut at) = (images.shape()[0], 0);
                    let row = dy.len() / batch.max(1);
                    let lead = front.as_ref().map_or(0, |front| front.shape[0]);
                    for place in front.into_iter().chain([pos]) {
                        let cols: usize = place.shape.iter().product();
                        if let Some((out, accumulate)) = pending.sink(place)? {
                            let sum = ColumnSum::of(&dy, &out);
                            device.run(&ColumnSum { x_offset: at, x_ld: row, rows: batch, cols, accumulate, ..sum })?;
                        }
                        at += cols;
                    }
                    if let Some((dw, accumulate)) = pending.sink(weight)? {
                        let rows = device.reals(&[dy.rows(), dw.rows()])?;
                        device.run(&Unfold { images: &images, out: &rows, front: lead, patch })?;
                        Gemm { accumulate, ..Gemm::new(Layout::TN, &rows, &dy, &dw)? }.run(&device)?;
                    }
                }
                // y = sum of parts, each on some rows:  its dx is the sum of dy over the rows that show it.
                Node::Overlay { parts } => {
                    let cols = dy.cols();
                    for (x, first, to, repeated) in parts {
                        let (from, rows) = (to.start * cols, to.len());
                        let Some(dx) = pending.cleared(x)? else { continue };
                        if repeated {
                            let sum = ColumnSum::of(&dy, &dx);
                            device.run(&ColumnSum { x_offset: from, rows, accumulate: true, ..sum })?;
                        } else {
                            let (x, out) = (Mat::at(&dy, from, cols), Mat::at(&dx, first * cols, cols));
                            device.run(&CopyBlock { x, out, rows, cols, factor: 1.0, accumulate: true })?;
                        }
                    }
                }
                // y = x diag(s):  dx = dy diag(s);  ds = sum over rows of dy x
                Node::ScaleColumns { x, scale } => {
                    if x.node.is_some() {
                        let dx = device.reals(dy.shape())?;
                        device.run(&ScaleColumns { x: &dy, scale: &scale.value, y: &dx })?;
                        pending.give(x.node, &dx)?;
                    }
                    if scale.node.is_some() {
                        let products = device.reals(dy.shape())?;
                        device.run(&Multiply { a: &dy, b: &x.value, y: &products, accumulate: false })?;
                        column_sum(&mut pending, &scale, &products, None)?;
                    }
                }
                // y = segment(x): done again, with everything kept, and differentiated from dy back.
                Node::Recomputed { x, input, segment } => {
                    let x = Var { value: input.value(&device)?, node: x.node };
                    let (mut inner, again) = self.inner(&x);
                    let last = segment.run(&mut inner, &again)?.node;
                    let mut grads = vec![None; inner.nodes.len()];
                    if let Some(node) = last {
                        grads[node] = Some(dy);
                    }
                    for (id, grad) in inner.sweep(last, grads)?.0 {
                        let node = if id == x.value.id() { x.node } else { self.leaves.get(&id).copied() };
                        pending.give(node, &grad)?;
                    }
                }
                // y = gamma xh + beta, xh = (x - mean) / std, g = gamma dy:
                // dx = (g - mean(g) - xh mean(g xh)) / std;  dgamma = sum dy xh;  dbeta = sum dy
                Node::LayerNorm { x, input, gamma, beta, stats } => {
                    let input = input.value(&device)?;
                    column_sum(&mut pending, &gamma, &dy, Some((&input, &stats)))?;
                    column_sum(&mut pending, &beta, &dy, None)?;
                    if let Some((dx, accumulate)) = pending.sink(x)? {
                        let norm = LayerNormBackward {
                            x: &input,
                            gamma: &gamma.value,
                            stats: &stats,
                            dy: &dy,
                            dx: &dx,
                            accumulate: false,
                        };
                        device.run(&LayerNormBackward { accumulate, ..norm })?;
                    }
                }
                // K = [PK; k], V = [PV; v], P = softmax(q K^T / sqrt d), delta = sum dy o:
                // dS = P (dy V^T - delta) / sqrt d;  dq = dS K;  dK = dS^T q;  dV = P^T dy   (P recomputed from lse)
                Node::Attention { qkv, prefix, inputs, out, lse, batch, tokens, heads } => {
                    let (inputs, out) = (inputs.value(&device)?, out.value(&device)?);
                    let dqkv = device.reals(&qkv.shape)?;
                    let delta = device.reals(lse.shape())?;
                    let (qkv_t, lse, delta, dy) = (&inputs, &lse, &delta, &dy);
                    // Also where nothing but the prefix is tracked: its gradient needs delta.
                    device.run(&AttentionBackwardQuery {
                        qkv: qkv_t,
                        prefix: prefix.as_ref().map(|prefix| &prefix.value),
                        out: &out,
                        dy,
                        lse,
                        delta,
                        dqkv: &dqkv,
                        batch,
                        tokens,
                        heads,
                    })?;
                    let keys = Keys::Tokens { dqkv: &dqkv };
                    let key = AttentionBackwardKey { qkv: qkv_t, dy, lse, delta, keys, batch, tokens, heads };
                    if qkv.node.is_some() {
                        device.run(&key)?;
                        pending.give(qkv.node, &dqkv)?;
                    }
                    if let Some(prefix) = prefix.as_ref().filter(|prefix| prefix.node.is_some()) {
                        let dprefix = device.reals(prefix.value.shape())?;
                        let keys = Keys::Prefix { prefix: &prefix.value, dprefix: &dprefix };
                        device.run(&AttentionBackwardKey { keys, ..key })?;
                        pending.give(prefix.node, &dprefix)?;
                    }
                }
                // y = r + (sum_i omega_i z_i(x)) U:  dr = dy; see algorithms::noise for the rules inside, and for r = x.
                // omega = softmax(a): da_i = omega_i (domega_i - sum_j omega_j domega_j)
                Node::Noise(n) => {
                    if let Some(input) = &n.input {
                        let layer = NoiseLayer {
                            proj: &n.proj,
                            phi: &n.phi.value,
                            omega: &n.omega,
                            layout: n.layout,
                            modules: n.modules,
                            noise: n.noise,
                        };
                        let want = n.phi.node.is_some() || n.logits.is_some();
                        let x = input.value(&device)?;
                        let path = n.path.unwrap_or_else(|| layer.path(&device, &x, true));
                        let grads = layer.backward(&device, &x, &dy, n.residual.is_none(), path, want)?;
                        pending.give(n.x.node, &grads.dx)?;
                        if let Some(phi) = &grads.phi {
                            pending.give(n.phi.node, phi)?;
                        }
                        if let (Some(logits), Some(domega)) = (&n.logits, &grads.domega) {
                            let da = device.reals(logits.value.shape())?;
                            device.run(&MixtureBackward { partials: domega, omega: &n.omega, out: &da, layer: 0 })?;
                            pending.give(logits.node, &da)?;
                        }
                    }
                    if let Some(residual) = &n.residual {
                        // Last, as above.
                        pending.give(residual.node, &dy)?;
                    }
                }
                // y = R x with R orthogonal: dx = R^T dy, in place, since nobody else holds the gradient of a result.
                Node::Rotary { qkv, table, batch, tokens, heads } => {
                    device.run(&Rotary { x: &dy, table: &table, batch, tokens, heads, inverse: true })?;
                    pending.give(qkv.node, &dy)?;
                }
                // y = gate(a) b, u = a | b:  da = dy b gate'(a);  db = dy gate(a)
                Node::Glu { gate, u, input } => {
                    let (input, du) = (input.value(&device)?, device.reals(&u.shape)?);
                    device.run(&GluBackward { gate, u: &input, dy: &dy, du: &du })?;
                    pending.give(u.node, &du)?;
                }
                // y = [x_0 | x_1 | ..]: every part has its columns of dy.
                Node::Concat { parts } => {
                    let (rows, ld, mut at) = (dy.rows(), dy.cols(), 0);
                    for part in parts {
                        let cols = part.shape.last().copied().unwrap_or_default();
                        if let Some((dx, accumulate)) = pending.sink(part)? {
                            let (x, out) = (Mat::at(&dy, at, ld), Mat::of(&dx));
                            device.run(&CopyBlock { x, out, rows, cols, factor: 1.0, accumulate })?;
                        }
                        at += cols;
                    }
                }
                // y = x
                Node::Reshaped { x } => pending.give(x.node, &dy.reshape(&x.shape))?,
                // y = c x:  dx = c dy
                Node::Scaled { x, factor } => {
                    if let Some((dx, accumulate)) = pending.sink(x)? {
                        let (rows, cols, x, out) = (dy.rows(), dy.cols(), Mat::of(&dy), Mat::of(&dx));
                        device.run(&CopyBlock { x, out, rows, cols, factor, accumulate })?;
                    }
                }
                // y = x / |x|:  dx = (dy - y <y, dy>) / |x|
                Node::Unit { x, y, norms } => {
                    if let Some((dx, accumulate)) = pending.sink(x)? {
                        device.run(&RowUnitBackward { y: &y, norms: &norms, dy: &dy, dx: &dx, accumulate })?;
                    }
                }
                // y = m x with m = 0 or 1 / (1 - share):  dx = m dy
                Node::Dropout { x, share, stream } => {
                    if let Some((dx, accumulate)) = pending.sink(x)? {
                        device.run(&Dropout { x: &dy, y: &dx, share, stream, accumulate })?;
                    }
                }
                // y_r = x for every row r:  dx = sum_r dy_r
                Node::Repeat { x } => column_sum(&mut pending, x, &dy, None)?,
                // y = x[:, start..]:  dx is dy there, zero elsewhere.
                Node::Columns { x, start } => {
                    let (rows, cols, ld) = (dy.rows(), dy.cols(), x.shape.last().copied().unwrap_or_default());
                    if let Some(dx) = pending.cleared(x)? {
                        let (x, out) = (Mat::of(&dy), Mat::at(&dx, start, ld));
                        device.run(&CopyBlock { x, out, rows, cols, factor: 1.0, accumulate: true })?;
                    }
                }
                // y = a b:  da = dy b;  db = dy a
                Node::Multiply { a, b } => {
                    for (of, other) in [(&a, &b.value), (&b, &a.value)] {
                        if let Some((dx, accumulate)) = pending.sink(of)? {
                            device.run(&Multiply { a: &dy, b: other, y: &dx, accumulate })?;
                        }
                    }
                }
                // y = x / sqrt(s):  dx = dy / sqrt(s);  ds = -dy y / 2 s
                Node::RootRatio { x, s, y } => {
                    let (dx, ds) = (device.reals(&x.shape)?, device.reals(s.value.shape())?);
                    device.run(&RootRatioBackward { s: &s.value, y: &y, dy: &dy, dx: &dx, ds: &ds })?;
                    pending.give(x.node, &dx)?;
                    pending.give(s.node, &ds)?;
                }
                // y = sum_(t in range) x_t / count:  dx_t = dy / count there, zero elsewhere.
                Node::TokenMean { x, range } => {
                    let dx = device.reals(&x.shape)?;
                    device.run(&TokenMeanBackward { dy: &dy, range, dx: &dx })?;
                    // Recorded as [B, N, d1]; the tokens flow on as rows.
                    pending.give(x.node, &dx.reshape(&[dx.rows(), dx.cols()]))?;
                }
            }
        }
        Ok(Gradients(leaves))
    }
}
