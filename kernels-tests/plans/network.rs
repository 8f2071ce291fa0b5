//! Kernels of networks and of their training.

use minoise::device::{DType, Varied};
use minoise::kernels::activation_backward::ActivationBackward;
use minoise::kernels::adamw::AdamW;
use minoise::kernels::add::Add;
use minoise::kernels::attention::Attention;
use minoise::kernels::attention_backward_key::{AttentionBackwardKey, Keys};
use minoise::kernels::attention_backward_query::AttentionBackwardQuery;
use minoise::kernels::clip_factor::ClipFactor;
use minoise::kernels::column_sum::ColumnSum;
use minoise::kernels::copy_block::CopyBlock;
use minoise::kernels::cross_entropy::CrossEntropy;
use minoise::kernels::dropout::Dropout;
use minoise::kernels::gemm::{Activation, Gemm, Layout, Mat};
use minoise::kernels::glu::{Gate, Glu};
use minoise::kernels::glu_backward::GluBackward;
use minoise::kernels::inner_product::InnerProduct;
use minoise::kernels::layernorm::LayerNorm;
use minoise::kernels::layernorm_backward::LayerNormBackward;
use minoise::kernels::multiply::Multiply;
use minoise::kernels::normalise::Normalise;
use minoise::kernels::pack_halves::PackHalves;
use minoise::kernels::patch_embed::PatchEmbed;
use minoise::kernels::philox_normal::Stream;
use minoise::kernels::quarter_turn::QuarterTurn;
use minoise::kernels::root_ratio::RootRatio;
use minoise::kernels::root_ratio_backward::RootRatioBackward;
use minoise::kernels::rotary::Rotary;
use minoise::kernels::row_unit::RowUnit;
use minoise::kernels::row_unit_backward::RowUnitBackward;
use minoise::kernels::scale_columns::ScaleColumns;
use minoise::kernels::sgd::Sgd;
use minoise::kernels::square_sum::{self, SquareSum};
use minoise::kernels::tanh::Tanh;
use minoise::kernels::token_mean::TokenMean;
use minoise::kernels::token_mean_backward::TokenMeanBackward;
use minoise::kernels::top_k::TopK;
use minoise::kernels::unfold::Unfold;
use minoise::kernels::unpack_halves::UnpackHalves;

use super::{Draw, One, within};
use crate::gemm::shapes;

pub(super) const KERNELS: &[(&str, One)] = &[
    ("activation_backward", |d| {
        let n = d.size(1 << 20);
        let curved = if d.flag() { Activation::Gelu } else { Activation::QuickGelu };
        let activation = if d.flag() { curved } else { Activation::Relu };
        d.plan(&ActivationBackward { activation, saved: &d.t(&[n]), dy: &d.t(&[n]), dx: &d.t(&[n]) })
    }),
    ("adamw", |d| {
        let n = d.size(1 << 20);
        let [param, grad, m, v, factors] = &[n + 5, n, n, n, 2].map(|n| d.t(&[n]));
        let clip = d.flag().then_some(factors);
        let (lr, beta1, beta2, eps, weight_decay) = (0.1, 0.9, 0.999, 1e-8, 0.1);
        d.plan(&AdamW { param, offset: 5, grad, clip, m, v, lr, beta1, beta2, eps, weight_decay, step: 1 })
    }),
    ("add", |d| {
        let n = d.size(1 << 20);
        d.plan(&Add { x: &d.t(&[n]), y: &d.t(&[n]) })
    }),
    ("attention", |d| {
        let (batch, tokens, heads, dim) = (d.size(40), d.size(500), d.size(12), d.quads(128));
        let (rows, width, lse, prefixed) = (batch * tokens, heads * dim, d.flag(), d.flag());
        let (qkv, out, scores) = (&d.t(&[rows, 3 * width]), &d.t(&[rows, width]), &d.t(&[heads * rows]));
        let lead = d.size(64);
        let prefix = &d.t(&[batch, 2, lead, width]);
        let (prefix, lse) = (prefixed.then_some(prefix), lse.then_some(scores));
        d.plan(&Attention { qkv, prefix, out, lse, batch, tokens, heads })
    }),
    ("attention_backward_key", |d| {
        let (batch, tokens, heads, dim) = (d.size(40), d.size(500), d.size(12), d.quads(128));
        let (rows, width) = (batch * tokens, heads * dim);
        let [qkv, dqkv] = &[(); 2].map(|()| d.t(&[rows, 3 * width]));
        let [lse, delta] = &[(); 2].map(|()| d.t(&[heads * rows]));
        let lead = d.size(64);
        let [prefix, dprefix] = &[(); 2].map(|()| d.t(&[batch, 2, lead, width]));
        let keys = if d.flag() { Keys::Tokens { dqkv } } else { Keys::Prefix { prefix, dprefix } };
        d.plan(&AttentionBackwardKey { qkv, dy: &d.t(&[rows, width]), lse, delta, keys, batch, tokens, heads })
    }),
    ("attention_backward_query", |d| {
        let (batch, tokens, heads, dim) = (d.size(40), d.size(500), d.size(12), d.quads(128));
        let (rows, width) = (batch * tokens, heads * dim);
        let [qkv, dqkv] = &[(); 2].map(|()| d.t(&[rows, 3 * width]));
        let [lse, delta] = &[(); 2].map(|()| d.t(&[heads * rows]));
        let [out, dy] = &[(); 2].map(|()| d.t(&[rows, width]));
        let lead = d.size(64);
        let prefix = &d.t(&[batch, 2, lead, width]);
        let prefix = d.flag().then_some(prefix);
        d.plan(&AttentionBackwardQuery { qkv, prefix, out, dy, lse, delta, dqkv, batch, tokens, heads })
    }),
    ("clip_factor", |d| {
        let n = d.size(1 << 20);
        d.plan(&ClipFactor { partials: &d.t(&[n]), n, most: 1.0, clip: &d.t(&[2]) })
    }),
    ("column_sum", |d| {
        let (rows, cols, normalised) = (d.size(2000), d.size(10_000), d.flag());
        let (x, z, stats) = (d.t(&[rows, cols]), d.t(&[rows, cols]), d.t(&[rows, 2]));
        let normalised = normalised.then_some((&z, &stats));
        d.plan(&ColumnSum { normalised, ..ColumnSum::of(&x, &d.t(&[cols])) })
    }),
    ("copy_block", |d| {
        let (rows, cols, accumulate) = (d.size(5000), d.size(1000), d.flag());
        let (x, out) = (d.t(&[rows, cols]), d.t(&[rows, cols + 3]));
        let (x, out) = (Mat::of(&x), Mat::at(&out, 3, cols + 3));
        d.plan(&CopyBlock { x, out, rows, cols, factor: 0.5, accumulate })
    }),
    ("cross_entropy", |d| {
        let (rows, cols) = (d.size(3000), d.size(1000));
        let (labels, [logits, dlogits]) = (d.of(DType::U32, &[rows]), &[(); 2].map(|()| d.t(&[rows, cols])));
        d.plan(&CrossEntropy {
            logits,
            labels: &labels,
            loss: &d.t(&[3]),
            slot: 1,
            batch: 3,
            accumulate: false,
            dlogits,
        })
    }),
    ("dropout", |d| {
        let (rows, cols, accumulate) = (d.size(5000), d.size(1000), d.flag());
        let stream = Stream { seed: 1, layer: 2, task: 3, step: 4, first_row: 5 };
        d.plan(&Dropout { x: &d.t(&[rows, cols]), y: &d.t(&[rows, cols]), share: 0.1, stream, accumulate })
    }),
    ("gemm", gemm),
    ("glu", |d| {
        let (rows, cols) = (d.size(10_000), d.size(1500));
        let gate = if d.flag() { Gate::Silu } else { Gate::Gelu };
        d.plan(&Glu { gate, u: &d.t(&[rows, 2 * cols]), out: &d.t(&[rows, cols]) })
    }),
    ("glu_backward", |d| {
        let (rows, cols) = (d.size(10_000), d.size(1500));
        let [u, du] = &[(); 2].map(|()| d.t(&[rows, 2 * cols]));
        let gate = if d.flag() { Gate::Silu } else { Gate::Gelu };
        d.plan(&GluBackward { gate, u, dy: &d.t(&[rows, cols]), du })
    }),
    ("inner_product", |d| {
        let (n, accumulate) = (d.size(1 << 20), d.flag());
        let [x, y] = &[(); 2].map(|()| d.t(&[n]));
        d.plan(&InnerProduct { x, y, out: &d.t(&[3]), slot: 1, factor: 0.5, accumulate })
    }),
    ("layernorm", |d| {
        let (rows, cols, stats) = (d.size(20_000), d.size(1500), d.flag());
        let ([gamma, beta], [x, out]) = (&[(); 2].map(|()| d.t(&[cols])), &[(); 2].map(|()| d.t(&[rows, cols])));
        let saved = d.t(&[rows, 2]);
        d.plan(&LayerNorm { stats: stats.then_some(&saved), ..LayerNorm::new(x, gamma, beta, out, 1e-5) })
    }),
    ("layernorm_backward", |d| {
        let (rows, cols, accumulate) = (d.size(20_000), d.size(1500), d.flag());
        let [x, dy, dx] = &[(); 3].map(|()| d.t(&[rows, cols]));
        let (gamma, stats) = (d.t(&[cols]), d.t(&[rows, 2]));
        d.plan(&LayerNormBackward { x, gamma: &gamma, stats: &stats, dy, dx, accumulate })
    }),
    ("multiply", |d| {
        let (n, accumulate) = (d.size(1 << 24), d.flag());
        let [a, b, y] = &[(); 3].map(|()| d.t(&[n]));
        d.plan(&Multiply { a, b, y, accumulate })
    }),
    ("patch_embed", |d| {
        let (b, c, h, w, patch, cols) = (d.size(300), d.size(4), d.size(14), d.size(14), d.size(16), d.size(800));
        let tokens = if d.flag() { 5 } else { 0 };
        let (images, weight) = (&d.t(&[b, c, h * patch, w * patch]), &d.t(&[c * patch * patch, cols]));
        let (pos, out) = (&d.t(&[h * w, cols]), &d.t(&[b, tokens + h * w, cols]));
        let prefix = (tokens > 0).then(|| d.t(&[tokens, cols]));
        d.plan(&PatchEmbed { images, weight, prefix: prefix.as_ref(), pos, out, patch })
    }),
    ("quarter_turn", |d| {
        let (b, c, side) = (d.size(30), d.size(3), d.size(300));
        let [x, out] = &[(); 2].map(|()| d.t(&[b, c, side, side]));
        d.plan(&QuarterTurn { x, turns: &d.of(DType::U32, &[b]), out })
    }),
    ("root_ratio", |d| {
        let n = d.size(1 << 24);
        let [x, s, y] = &[(); 3].map(|()| d.t(&[n]));
        d.plan(&RootRatio { x, s, y })
    }),
    ("root_ratio_backward", |d| {
        let n = d.size(1 << 24);
        let [s, y, dy, dx, ds] = &[(); 5].map(|()| d.t(&[n]));
        d.plan(&RootRatioBackward { s, y, dy, dx, ds })
    }),
    ("rotary", |d| {
        let (batch, prefix, patches, heads, dim) = (d.size(40), d.size(6), d.size(500), d.size(12), d.quads(128));
        let (tokens, inverse) = (prefix + patches, d.flag());
        let (x, table) = (&d.t(&[batch * tokens, 3 * heads * dim]), &d.t(&[patches, dim]));
        d.plan(&Rotary { x, table, batch, tokens, heads, inverse })
    }),
    ("row_unit", |d| {
        let (rows, cols, kept) = (d.size(20_000), d.size(1500), d.flag());
        let ([x, y], norms) = (&[(); 2].map(|()| d.t(&[rows, cols])), &d.t(&[rows]));
        d.plan(&RowUnit { x, y, norms: kept.then_some(norms) })
    }),
    ("row_unit_backward", |d| {
        let (rows, cols, accumulate) = (d.size(20_000), d.size(1500), d.flag());
        let ([y, dy, dx], norms) = (&[(); 3].map(|()| d.t(&[rows, cols])), &d.t(&[rows]));
        d.plan(&RowUnitBackward { y, norms, dy, dx, accumulate })
    }),
    ("scale_columns", |d| {
        let (rows, cols) = (d.size(3000), d.size(1000));
        d.plan(&ScaleColumns { x: &d.t(&[rows, cols]), scale: &d.t(&[cols]), y: &d.t(&[rows, cols]) })
    }),
    ("sgd", |d| {
        let n = d.size(1 << 20);
        let [param, grad, velocity, factors] = &[n + 7, n, n, 2].map(|n| d.t(&[n]));
        let clip = d.flag().then_some(factors);
        d.plan(&Sgd { param, offset: 7, grad, clip, velocity, lr: 0.1, momentum: 0.9, weight_decay: 0.1 })
    }),
    ("square_sum", |d| {
        let n = d.size(1 << 24);
        d.plan(&SquareSum { x: &d.t(&[n]), partials: &d.t(&[3 + square_sum::partials(n)]), slot: 3 })
    }),
    ("tanh", |d| {
        let n = d.size(1 << 24);
        d.plan(&Tanh { x: &d.t(&[n]), y: &d.t(&[n]) })
    }),
    ("normalise", |d| {
        let (b, c, side) = (d.size(30), d.size(3), d.size(300));
        let (words, out) = ((b * c * side * side).div_ceil(4), d.t(&[b, c, side, side]));
        d.plan(&Normalise { bytes: &d.of(DType::U32, &[words]), table: &d.t(&[c, 256]), out: &out })
    }),
    ("pack_halves", |d| {
        let n = d.size(1_000_000);
        d.plan(&PackHalves { x: &d.t(&[n]), words: &d.of(DType::U32, &[n.div_ceil(2)]) })
    }),
    ("unfold", |d| {
        let (b, c, h, w, patch) = (d.size(300), d.size(4), d.size(14), d.size(14), d.size(16));
        let front = if d.flag() { 5 } else { 0 };
        let images = &d.t(&[b, c, h * patch, w * patch]);
        d.plan(&Unfold { images, out: &d.t(&[b, front + h * w, c * patch * patch]), front, patch })
    }),
    ("unpack_halves", |d| {
        let n = d.size(1_000_000);
        d.plan(&UnpackHalves { words: &d.of(DType::U32, &[n.div_ceil(2)]), x: &d.t(&[n]) })
    }),
    ("token_mean", |d| {
        let (b, tokens, cols) = (d.size(300), d.size(500), d.size(800));
        d.plan(&TokenMean { x: &d.t(&[b, tokens, cols]), range: tokens / 2..tokens, out: &d.t(&[b, cols]) })
    }),
    ("token_mean_backward", |d| {
        let (b, tokens, cols) = (d.size(300), d.size(500), d.size(800));
        d.plan(&TokenMeanBackward { dy: &d.t(&[b, cols]), range: tokens / 2..tokens, dx: &d.t(&[b, tokens, cols]) })
    }),
    ("top_k", |d| {
        let (rows, cols, k) = (d.size(20_000), d.size(100), d.size(10));
        d.plan(&TopK { x: &d.t(&[rows, cols]), hot: &d.t(&[rows, k, cols]) })
    }),
];

/// By the device's own choice, and in every variant that its caps allow.
fn gemm(d: &mut Draw) -> Result<bool, String> {
    let layout = [Layout::NN, Layout::NT, Layout::TN][d.size(3) - 1];
    let (batch, m, n, k) = (d.size(20), d.size(1500), d.size(1500), d.size(300));
    let [m, n, k] = if d.flag() { [m, n, k].map(|x| x.next_multiple_of(4)) } else { [m, n, k] };
    let (sa, sb) = shapes(layout, [m, n, k]);
    let dtype = if d.flag() { DType::F16 } else { DType::Real };
    let (a, b) = (d.t(&[batch, sa[0], sa[1]]), d.of(dtype, &[batch, sb[0], sb[1]]));
    let (bias, out) = (d.t(&[n]), d.t(&[batch, m, n]));
    let mats = (Mat::of(&a).every(m * k), Mat::of(&b).every(k * n), Mat::of(&out).every(m * n));
    let with_bias = d.flag().then(|| Mat::of(&bias));
    let gemm = Gemm { batch, bias: with_bias, ..Gemm::of(layout, [m, n, k], mats.0, mats.1, mats.2) };
    let caps = d.device.caps();
    for variant in gemm.variants(caps) {
        let plan = gemm.planned(variant, caps).expect("a variant that can run it");
        within(caps, &plan).map_err(|e| format!("{variant}: {e}"))?;
    }
    d.plan(&gemm)
}
