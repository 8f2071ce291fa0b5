//! What kernels are used for: every dispatch of runs of some networks, and of what these runs lack. Their pipelines are those
//! that the budget of registers and `minoise kernels` know.

mod runs;

use half::f16;
use runs::{CLASSES, FEATURES, RUNS, TASKS};

use crate::Result;
use crate::algorithms::ridge::System;
use crate::algorithms::tiles::Tiles;
use crate::device::{Captured, DType, Device, Varied, WithPlan};
use crate::kernels::activation_backward::ActivationBackward;
use crate::kernels::adamw::AdamW;
use crate::kernels::attention::Attention;
use crate::kernels::attention_backward_key::{AttentionBackwardKey, Keys};
use crate::kernels::attention_backward_query::AttentionBackwardQuery;
use crate::kernels::clip_factor::ClipFactor;
use crate::kernels::column_unit::ColumnUnit;
use crate::kernels::copy_block::CopyBlock;
use crate::kernels::dropout::Dropout;
use crate::kernels::error_free::ErrorFree;
use crate::kernels::fma_chains::FmaChains;
use crate::kernels::gemm::{Activation, Gemm, Layout, Mat, Variant};
use crate::kernels::glu::{Gate, Glu};
use crate::kernels::glu_backward::GluBackward;
use crate::kernels::gram::{Gram, SAMPLES};
use crate::kernels::inner_product::InnerProduct;
use crate::kernels::label_sum::LabelSum;
use crate::kernels::multiply::Multiply;
use crate::kernels::normalise::Normalise;
use crate::kernels::pack_halves::PackHalves;
use crate::kernels::philox_normal::Stream;
use crate::kernels::quarter_turn::QuarterTurn;
use crate::kernels::root_ratio::RootRatio;
use crate::kernels::root_ratio_backward::RootRatioBackward;
use crate::kernels::rotary::Rotary;
use crate::kernels::row_unit::RowUnit;
use crate::kernels::row_unit_backward::RowUnitBackward;
use crate::kernels::sgd::Sgd;
use crate::kernels::square_sum::{self, SquareSum};
use crate::kernels::stream_copy::StreamCopy;
use crate::kernels::tanh::Tanh;
use crate::kernels::top_k::TopK;
use crate::kernels::unfold::Unfold;
use crate::kernels::unpack_halves::UnpackHalves;

/// Every dispatch of every use on `device`, by the name of the use.
///
/// # Errors
/// What the device cannot plan.
pub fn dispatches(device: &Device) -> Result<Vec<(&'static str, Vec<Captured>)>> {
    let runs = RUNS.iter().map(|run| Ok((run.name, run.dispatches(device)?)));
    let more = [
        ("roofline", roofline as fn(&Device) -> Result<Vec<Captured>>),
        ("heads", heads),
        ("prefixes", prefixes),
        ("families", families),
        ("parts", parts),
        ("prompts", prompts),
        ("whole", whole),
        ("clipping", clipping),
        ("analytic", analytic),
        ("measured", measured),
    ];
    runs.chain(more.map(|(name, run)| Ok((name, run(device)?)))).collect()
}

/// Attention with heads that no use has.
fn heads(device: &Device) -> Result<Vec<Captured>> {
    let (batch, tokens, heads) = (4, 1000, 8);
    device.capture(|| {
        for dim in [48, 80, 96, 128] {
            let (rows, width) = (batch * tokens, heads * dim);
            let (qkv, dqkv) = (&device.zeros(&[rows, 3 * width])?, &device.zeros(&[rows, 3 * width])?);
            let (out, dy) = (&device.zeros(&[rows, width])?, &device.zeros(&[rows, width])?);
            let (lse, delta) = (&device.zeros(&[batch * heads * tokens])?, &device.zeros(&[batch * heads * tokens])?);
            device.run(&Attention { qkv, prefix: None, out, lse: Some(lse), batch, tokens, heads })?;
            let query = AttentionBackwardQuery { qkv, prefix: None, out, dy, lse, delta, dqkv, batch, tokens, heads };
            device.run(&query)?;
            let keys = Keys::Tokens { dqkv };
            device.run(&AttentionBackwardKey { qkv, dy, lse, delta, keys, batch, tokens, heads })?;
        }
        Ok(())
    })
}

/// Attention behind prompts of usual lengths, in the embedded backbone and in a ViT-B: predicted and trained.
fn prefixes(device: &Device) -> Result<Vec<Captured>> {
    device.capture(|| {
        for ([batch, tokens, heads, dim], lead) in
            [[256, 17, 3, 32], [8, 197, 12, 64]].into_iter().flat_map(|sizes| [5, 20].map(|lead| (sizes, lead)))
        {
            let (rows, width) = (batch * tokens, heads * dim);
            let (qkv, dqkv) = (&device.zeros(&[rows, 3 * width])?, &device.zeros(&[rows, 3 * width])?);
            let (out, dy) = (&device.zeros(&[rows, width])?, &device.zeros(&[rows, width])?);
            let (lse, delta) = (&device.zeros(&[batch * heads * tokens])?, &device.zeros(&[batch * heads * tokens])?);
            let rows = [batch, 2, lead, width];
            let (prefix, dprefix) = (&device.zeros(&rows)?, &device.zeros(&rows)?);
            let keys = Keys::Prefix { prefix, dprefix };
            device.run(&AttentionBackwardKey { qkv, dy, lse, delta, keys, batch, tokens, heads })?;
            let prefix = Some(prefix);
            for lse in [None, Some(lse)] {
                device.run(&Attention { qkv, prefix, out, lse, batch, tokens, heads })?;
            }
            device.run(&AttentionBackwardQuery { qkv, prefix, out, dy, lse, delta, dqkv, batch, tokens, heads })?;
        }
        Ok(())
    })
}

/// What relatives of the plain ViT have beside it, both ways.
fn families(device: &Device) -> Result<Vec<Captured>> {
    let (batch, tokens, heads, dim) = (8, 201, 6, 64);
    let (rows, width, hidden) = (batch * tokens, heads * dim, 4 * heads * dim);
    device.capture(|| {
        let (qkv, table) = (&device.zeros(&[rows, 3 * width])?, &device.zeros(&[tokens - 5, dim])?);
        for inverse in [false, true] {
            device.run(&Rotary { x: qkv, table, batch, tokens, heads, inverse })?;
        }
        let (u, du) = (&device.zeros(&[rows, 2 * hidden])?, &device.zeros(&[rows, 2 * hidden])?);
        let (h, dh) = (&device.zeros(&[rows, hidden])?, &device.zeros(&[rows, hidden])?);
        for gate in [Gate::Silu, Gate::Gelu] {
            device.run(&Glu { gate, u, out: h })?;
            device.run(&GluBackward { gate, u, dy: dh, du })?;
        }
        // Bytes of images, and what training keeps where memory is short.
        let words = |n: usize| device.empty(&[n], DType::U32);
        let (pixels, table) = (device.zeros(&[batch, 3, 224, 224])?, device.zeros(&[3, 256])?);
        device.run(&Normalise { bytes: &words(pixels.len() / 4)?, table: &table, out: &pixels })?;
        let halves = words(rows * hidden / 2)?;
        device.run(&PackHalves { x: h, words: &halves })?;
        device.run(&UnpackHalves { words: &halves, x: h })?;
        let (x, w) = (&device.zeros(&[rows, width])?, &device.zeros(&[width, hidden])?);
        let (activation, bias) = (Activation::QuickGelu, Some(Mat::of(w)));
        device.run(&Gemm { activation, bias, pre: Some(dh), ..Gemm::new(Layout::NN, x, w, h)? })?;
        device.run(&ActivationBackward { activation, saved: h, dy: dh, dx: &device.zeros(&[rows, hidden])? })
    })
}

/// Turned images, blocks of tokens, rows of length one both ways, dropout, and a bent product.
fn parts(device: &Device) -> Result<Vec<Captured>> {
    let (batch, rows, cols) = (8, 8 * 197, 768);
    device.capture(|| {
        let (images, turned) = (&device.zeros(&[batch, 3, 224, 224])?, &device.zeros(&[batch, 3, 224, 224])?);
        device.run(&QuarterTurn { x: images, turns: &device.empty(&[batch], DType::U32)?, out: turned })?;
        let (x, y, norms) = (&device.zeros(&[rows, cols])?, &device.zeros(&[rows, cols])?, &device.zeros(&[rows])?);
        let (from, to) = (Mat::of(x), Mat::of(y));
        device.run(&CopyBlock { x: from, out: to, rows, cols, factor: 1.0, accumulate: true })?;
        device.run(&RowUnit { x, y, norms: None })?;
        device.run(&RowUnit { x, y, norms: Some(norms) })?;
        device.run(&Tanh { x, y })?;
        let stream = Stream { seed: 1, layer: 2, task: 0, step: 3, first_row: 0 };
        device.run(&Dropout { x, y, share: 0.1, stream, accumulate: true })?;
        let (dy, dx) = (&device.zeros(&[rows, cols])?, &device.zeros(&[rows, cols])?);
        device.run(&RowUnitBackward { y, norms, dy, dx, accumulate: true })
    })
}

/// Prompts chosen from a pool and weighted, both ways, and what their losses add.
fn prompts(device: &Device) -> Result<Vec<Captured>> {
    let (batch, pool, k) = (128, 100, 4);
    device.capture(|| {
        let (x, s, y) =
            (&device.zeros(&[batch, pool])?, &device.zeros(&[batch, pool])?, &device.zeros(&[batch, pool])?);
        let (dx, ds) = (&device.zeros(&[batch, pool])?, &device.zeros(&[batch, pool])?);
        device.run(&TopK { x, hot: &device.zeros(&[batch, k, pool])? })?;
        device.run(&Multiply { a: x, b: s, y, accumulate: true })?;
        device.run(&RootRatio { x, s, y })?;
        device.run(&RootRatioBackward { s, y, dy: x, dx, ds })?;
        device.run(&InnerProduct { x, y: s, out: &device.zeros(&[1])?, slot: 0, factor: 1.0, accumulate: true })
    })
}

/// The patches of a ViT-B that is trained as a whole, for the gradient of their embedding.
fn whole(device: &Device) -> Result<Vec<Captured>> {
    let (images, out) = (&device.zeros(&[8, 3, 224, 224])?, &device.zeros(&[8, 197, 768])?);
    device.capture(|| device.run(&Unfold { images, out, front: 1, patch: 16 }))
}

/// Gradients clipped by their norm, and both updates with them.
fn clipping(device: &Device) -> Result<Vec<Captured>> {
    let n = 768 * 3072;
    let sums = square_sum::partials(n);
    let (param, grad) = (&device.zeros(&[n])?, &device.zeros(&[n])?);
    let (m, v) = (&device.zeros(&[n])?, &device.zeros(&[n])?);
    let (partials, clip) = (&device.zeros(&[sums])?, &device.zeros(&[2])?);
    let (lr, momentum, weight_decay) = (0.1, 0.9, 5e-4);
    device.capture(|| {
        device.run(&SquareSum { x: grad, partials, slot: 0 })?;
        device.run(&ClipFactor { partials, n: sums, most: 1.0, clip })?;
        let clip = Some(clip);
        device.run(&Sgd { param, offset: 0, grad, clip, velocity: m, lr, momentum, weight_decay })?;
        let (beta1, beta2, eps) = (0.9, 0.999, 1e-8);
        device.run(&AdamW { param, offset: 0, grad, clip, m, v, lr, beta1, beta2, eps, weight_decay, step: 1 })
    })
}

/// The analytic classifier, gathered and solved: the planner's own is that of the CPU.
fn analytic(device: &Device) -> Result<Vec<Captured>> {
    let (p, sums) = (device.zeros(&[1000, FEATURES])?, device.zeros(&[2, TASKS * CLASSES, FEATURES])?);
    let labels = device.upload_u32(&[0; 1000], &[1000])?;
    let gram = Tiles::stand_in(device, FEATURES, FEATURES / 2, 2)?;
    let units = device.zeros(&[2, FEATURES])?;
    let (a, y) = (device.zeros(&[64])?, device.zeros(&[4, 64])?);
    device.capture(|| {
        device.run(&ErrorFree { a: &a, b: &a, y: &y })?;
        device.run(&ColumnUnit { x: &p, start: 0, rows: SAMPLES, units: &units })?;
        let tile = gram.tile(0, 0);
        device.run(&Gram { p: &p, start: 0, samples: SAMPLES, units: &units, tile, row0: 0, col0: 0 })?;
        device.run(&LabelSum { p: &p, labels: &labels, q: &sums })?;
        System::plan(device, &gram, &sums)
    })
}

/// Products by the variants that no device plans for by itself, but may measure: a forward pass and its backward one, with
/// weights as f32 and stored as halves.
fn measured(device: &Device) -> Result<Vec<Captured>> {
    let [m, n, k] = [3152, 768, 192];
    let (x, y, w) = (device.reals(&[m, k])?, device.reals(&[m, n])?, device.reals(&[k, n])?);
    let halves = |shape: [usize; 2]| device.upload_f16(&vec![f16::ZERO; n * k], &shape);
    let (forward, backward) = (halves([k, n])?, halves([n, k])?);
    let products = [
        Gemm::new(Layout::NN, &x, &w, &y)?,
        Gemm::new(Layout::NT, &y, &w, &x)?,
        Gemm::new(Layout::TN, &x, &y, &w)?,
        Gemm::new(Layout::NN, &x, &forward, &y)?,
        Gemm::new(Layout::NT, &x, &backward, &y)?,
    ];
    device.capture(|| {
        for gemm in products {
            for variant in
                gemm.variants(device.caps()).into_iter().filter(|v| !matches!(v, Variant::Tile(_) | Variant::Rows))
            {
                device.run(&WithPlan(gemm, gemm.planned(variant, device.caps()).expect("a variant of this device")))?;
            }
        }
        Ok(())
    })
}

/// The micro-kernels of the roofline.
fn roofline(device: &Device) -> Result<Vec<Captured>> {
    let (x, y) = (device.zeros(&[1 << 20])?, device.zeros(&[1 << 20])?);
    device.capture(|| {
        device.run(&FmaChains { x: &x, y: &y, rounds: 1, factor: 0.5, term: 1.0 })?;
        device.run(&StreamCopy { x: &x, y: &y })
    })
}
