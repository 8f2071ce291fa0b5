//! What minoise is used for: the pipelines of these runs are measured.

use half::f16;
use minoise::Result;
use minoise::algorithms::ridge::System;
use minoise::algorithms::tiles::Tiles;
use minoise::config::{Gamma, Mixture, Pipeline, Refit};
use minoise::device::{Captured, DType, Device, Varied, WithPlan};
use minoise::kernels::activation_backward::ActivationBackward;
use minoise::kernels::adamw::AdamW;
use minoise::kernels::attention::Attention;
use minoise::kernels::attention_backward_key::{AttentionBackwardKey, Keys};
use minoise::kernels::attention_backward_query::AttentionBackwardQuery;
use minoise::kernels::clip_factor::ClipFactor;
use minoise::kernels::column_unit::ColumnUnit;
use minoise::kernels::copy_block::CopyBlock;
use minoise::kernels::dropout::Dropout;
use minoise::kernels::error_free::ErrorFree;
use minoise::kernels::fma_chains::FmaChains;
use minoise::kernels::gemm::{Activation, Gemm, Layout, Mat, Variant};
use minoise::kernels::glu::{Gate, Glu};
use minoise::kernels::glu_backward::GluBackward;
use minoise::kernels::gram::{Gram, SAMPLES};
use minoise::kernels::inner_product::InnerProduct;
use minoise::kernels::label_sum::LabelSum;
use minoise::kernels::multiply::Multiply;
use minoise::kernels::normalise::Normalise;
use minoise::kernels::pack_halves::PackHalves;
use minoise::kernels::philox_normal::Stream;
use minoise::kernels::quarter_turn::QuarterTurn;
use minoise::kernels::root_ratio::RootRatio;
use minoise::kernels::root_ratio_backward::RootRatioBackward;
use minoise::kernels::rotary::Rotary;
use minoise::kernels::row_unit::RowUnit;
use minoise::kernels::row_unit_backward::RowUnitBackward;
use minoise::kernels::sgd::Sgd;
use minoise::kernels::square_sum::{self, SquareSum};
use minoise::kernels::stream_copy::StreamCopy;
use minoise::kernels::tanh::Tanh;
use minoise::kernels::top_k::TopK;
use minoise::kernels::unfold::Unfold;
use minoise::kernels::unpack_halves::UnpackHalves;
use minoise::method::{Core, Init, Learner, Min, Observer, Official, Paper, Phase, Samples, Settings, Task, predict};
use minoise::model::network::Network;
use minoise::model::noise::{NoiseLayers, Path, PhiLayout};
use minoise::model::optimizer::Rule;
use minoise::model::vit::{Vit, VitConfig};
use minoise::model::weights::Weights;
use pollster::block_on;
use safetensors::tensor::{Dtype, TensorView};

/// One backbone with its settings.
#[derive(Clone, Copy, Debug)]
struct Use {
    name: &'static str,
    image: [usize; 3],
    patch: usize,
    width: usize,
    heads: usize,
    registers: usize,
    /// Images of a full batch; a few more follow it, as at the end of an epoch.
    batch: usize,
    /// Width and layers of the noise modules.
    hidden: usize,
    layers: usize,
    /// Linear branches and trained norms, as in profile `official`.
    official: bool,
    /// The other choice wherever there are two: AdamW, the unfused noise layer, weights kept as halves.
    other: bool,
}

const SGD: Rule = Rule::Sgd { lr: 0.1, momentum: 0.9, weight_decay: 5e-4 };
const ADAMW: Rule = Rule::AdamW { lr: 0.1, weight_decay: 5e-4 };

const ICONS: Use = Use {
    name: "icons",
    image: [1, 32, 32],
    patch: 8,
    width: 96,
    heads: 3,
    registers: 0,
    batch: 256,
    hidden: 48,
    layers: 2,
    official: false,
    other: false,
};
const SMALL: Use =
    Use { name: "vit-ti-197", image: [3, 224, 224], patch: 16, width: 192, batch: 16, hidden: 96, ..ICONS };
const BASE: Use = Use { name: "vit-b-197", width: 768, heads: 12, batch: 8, hidden: 192, ..SMALL };
const USES: [Use; 6] = [
    ICONS,
    SMALL,
    BASE,
    Use { name: "vit-ti-65", image: [3, 64, 64], patch: 8, batch: 64, ..SMALL },
    Use { name: "vit-ti-65-other", image: [3, 64, 64], patch: 8, batch: 64, registers: 4, other: true, ..SMALL },
    Use { name: "vit-b-official", layers: 1, official: true, ..BASE },
];

const TASKS: usize = 10;
const CLASSES: usize = 10;
const FEATURES: usize = 2048;
/// Noise gradients pass through a block only where another stands before it.
const DEPTH: usize = 2;

/// Every dispatch of every use on `device`, by the name of the use.
pub fn dispatches(device: &Device) -> Result<Vec<(&'static str, Vec<Captured>)>> {
    let runs = USES.iter().map(|u| Ok((u.name, u.dispatches(device)?)));
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

impl Use {
    /// The last of ten tasks and an evaluation; for `official` the first two, which train different parameters.
    fn dispatches(&self, device: &Device) -> Result<Vec<Captured>> {
        let mut network = self.network(device)?;
        let row = network.noise.layout.len();
        let init: Init = Box::new(move |_, _| Ok(vec![0.0; row]));
        let samples = self.samples();
        let schedule = vec![(0..self.batch).collect(), (self.batch..samples.len()).collect()];
        let before = if self.official { 0 } else { TASKS - 1 };
        let task = Task { index: before, samples, first_class: 0, classes: TASKS * CLASSES, schedule };
        for _ in 0..before {
            network.noise.add_module(|_| Ok(vec![0.0; row]))?;
        }
        let mut core = Core::new(network, Gamma::Value(10.0), self.batch, None)?;
        core.prototypes = vec![vec![1.0; self.width]; before];
        core.weights = device.zeros(&[TASKS * CLASSES, FEATURES])?;
        let rule = if self.other { ADAMW } else { SGD };
        if self.official {
            return captured(device, Min::new(core, Official { rule, epochs: [1; 2], fit_epochs: 1 }, init), &task, 2);
        }
        let settings = Settings {
            noise: true,
            mixing: Mixture::Learned,
            pipeline: Pipeline::ThreeStep,
            refit: Refit::Replace,
            grad_through_analytic: true,
            temperature: 1.0,
            rule,
            epochs: [1; 2],
            seed: 0,
        };
        captured(device, Min::new(core, Paper(settings), init), &task, 1)
    }

    fn network(&self, device: &Device) -> Result<Network> {
        let (d1, d2) = (self.width, self.hidden);
        let config = VitConfig {
            image: self.image[1],
            patch: self.patch,
            channels: self.image[0],
            dim: d1,
            depth: DEPTH,
            heads: self.heads,
            mlp: 4 * d1,
            registers: self.registers,
            layer_scale: false,
            eps: 1e-6,
        };
        let layout = PhiLayout::new(d2, self.layers)?;
        let projections = vec![(vec![0.0; d1 * d2], vec![0.0; d2 * d1]); DEPTH];
        let mut noise = NoiseLayers::new(device, layout, d1, &projections, self.official)?;
        noise.path = Some(if self.other { Path::Unfused } else { Path::Fused });
        Ok(Network {
            device: device.clone(),
            vit: Vit::load(device, config, zeros(&config)?, self.other)?,
            noise,
            random: device.zeros(&[d1, FEATURES])?,
            anchor: None,
        })
    }

    fn samples(&self) -> Samples {
        let images = self.batch + self.batch / 16 + 1;
        let pixels = vec![0.0; images * self.image.iter().product::<usize>()];
        Samples::in_memory(self.image, pixels, vec![0; images]).expect("as many pixels as labels say")
    }
}

/// Learns `task` as many times, and predicts its classes.
fn captured(device: &Device, mut learner: impl Learner, task: &Task, times: usize) -> Result<Vec<Captured>> {
    device.capture(|| {
        for i in 0..times {
            let task = Task { index: task.index + i, ..task.clone() };
            block_on(learner.learn(task, &mut Silent))?;
        }
        block_on(predict(&learner, &task.samples)).map(|_| ())
    })
}

/// All weights of a backbone: plans depend on their shapes alone.
fn zeros(c: &VitConfig) -> Result<Weights> {
    let d = c.dim;
    let mut shapes = vec![
        ("patch_embed.proj.weight".to_string(), vec![d, c.channels, c.patch, c.patch]),
        ("patch_embed.proj.bias".into(), vec![d]),
        ("cls_token".into(), vec![1, 1, d]),
        ("pos_embed".into(), vec![1, c.tokens() - c.registers, d]),
        ("norm.weight".into(), vec![d]),
        ("norm.bias".into(), vec![d]),
    ];
    if c.registers > 0 {
        shapes.push(("reg_token".into(), vec![1, c.registers, d]));
    }
    for block in 0..c.depth {
        let mut add = |name: &str, outs: usize, ins: &[usize]| {
            let weight = [&[outs], ins].concat();
            shapes.push((format!("blocks.{block}.{name}.weight"), weight));
            shapes.push((format!("blocks.{block}.{name}.bias"), vec![outs]));
        };
        add("norm1", d, &[]);
        add("attn.qkv", 3 * d, &[d]);
        add("attn.proj", d, &[d]);
        add("norm2", d, &[]);
        add("mlp.fc1", c.mlp, &[d]);
        add("mlp.fc2", d, &[c.mlp]);
    }
    let most = shapes.iter().map(|s| s.1.iter().product::<usize>()).max().unwrap_or(0);
    let bytes = vec![0; 2 * most];
    let views = shapes.into_iter().map(|(name, shape)| {
        let n: usize = shape.iter().product();
        (name, TensorView::new(Dtype::F16, shape, &bytes[..2 * n]).expect("as many bytes as the shape says"))
    });
    let file = safetensors::serialize(views, None).expect("names are distinct");
    Weights::parse("zeros", &file)
}

struct Silent;

impl Observer for Silent {
    fn begin(&mut self, _: Phase, _: &str, _: usize) {}
    fn advance(&mut self, _: usize) {}
    fn end(&mut self, _: Phase, _: Option<f64>) {}
}
