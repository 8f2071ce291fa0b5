//! Plans are pure functions of shapes and caps: for random ones of both, every plan stays within its caps, or says so.

use libtest_mimic::{Failed, Trial};
use minoise::device::{Caps, DType, Device, DeviceClass, Kernel, Plan, Tensor, Varied};
use minoise::kernels::activation_backward::ActivationBackward;
use minoise::kernels::adamw::AdamW;
use minoise::kernels::add::Add;
use minoise::kernels::argmax::ArgMax;
use minoise::kernels::attention::Attention;
use minoise::kernels::attention_backward_key::{AttentionBackwardKey, Keys};
use minoise::kernels::attention_backward_query::AttentionBackwardQuery;
use minoise::kernels::cg_direction::CgDirection;
use minoise::kernels::cg_step::{CgStep, SCALARS};
use minoise::kernels::cholesky_block::CholeskyBlock;
use minoise::kernels::clip_factor::ClipFactor;
use minoise::kernels::column_sum::ColumnSum;
use minoise::kernels::column_unit::ColumnUnit;
use minoise::kernels::copy_block::CopyBlock;
use minoise::kernels::cross_entropy::CrossEntropy;
use minoise::kernels::dropout::Dropout;
use minoise::kernels::error_free::ErrorFree;
use minoise::kernels::fma_chains::FmaChains;
use minoise::kernels::gemm::{Activation, Gemm, Layout, Mat};
use minoise::kernels::glu::{Gate, Glu};
use minoise::kernels::glu_backward::GluBackward;
use minoise::kernels::gram::{Gram, SAMPLES};
use minoise::kernels::inner_product::InnerProduct;
use minoise::kernels::jacobi_scale::JacobiScale;
use minoise::kernels::label_sum::LabelSum;
use minoise::kernels::layernorm::LayerNorm;
use minoise::kernels::layernorm_backward::LayerNormBackward;
use minoise::kernels::mean_map::MeanMap;
use minoise::kernels::mean_map_backward::MeanMapBackward;
use minoise::kernels::mixture::MixtureSoftmax;
use minoise::kernels::mixture_backward::MixtureBackward;
use minoise::kernels::multiply::Multiply;
use minoise::kernels::noise_combine::{self, Direction, NoiseCombine};
use minoise::kernels::noise_mix::{NoiseMix, PhiLayout};
use minoise::kernels::noise_mix_backward::{self, NewestOutputs, NoiseMixBackward};
use minoise::kernels::normalise::Normalise;
use minoise::kernels::pack_halves::PackHalves;
use minoise::kernels::pair_product::PairProduct;
use minoise::kernels::patch_embed::PatchEmbed;
use minoise::kernels::philox_normal::{PhiloxNormal, Stream};
use minoise::kernels::quarter_turn::QuarterTurn;
use minoise::kernels::root_ratio::RootRatio;
use minoise::kernels::root_ratio_backward::RootRatioBackward;
use minoise::kernels::rotary::Rotary;
use minoise::kernels::row_unit::RowUnit;
use minoise::kernels::row_unit_backward::RowUnitBackward;
use minoise::kernels::scale_columns::ScaleColumns;
use minoise::kernels::scaled_tile::ScaledTile;
use minoise::kernels::sgd::Sgd;
use minoise::kernels::square_sum::{self, SquareSum};
use minoise::kernels::stream_copy::StreamCopy;
use minoise::kernels::tanh::Tanh;
use minoise::kernels::token_mean::TokenMean;
use minoise::kernels::token_mean_backward::TokenMeanBackward;
use minoise::kernels::top_k::TopK;
use minoise::kernels::triangular_rows::TriangularRows;
use minoise::kernels::unfold::Unfold;
use minoise::kernels::unpack_halves::UnpackHalves;
use minoise::{Error, Result};
use rand::{RngExt, SeedableRng};

use crate::gemm::shapes;
use crate::noise_mix::NOISES;

/// Draws for each kernel.
const DRAWS: u64 = 400;

/// Random caps, random shapes, and the kernels made of both.
struct Draw {
    rng: rand_chacha::ChaCha8Rng,
    device: Device,
}

impl Draw {
    /// Caps from the floor to large, but for the number of workgroups: as few as none has, so that small shapes have to be
    /// spread.
    fn new(seed: u64) -> Self {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let subgroup = [(0, 0), (4, 4), (8, 8), (16, 16), (32, 32), (32, 64), (64, 64), (8, 32), (4, 128), (128, 128)];
        let subgroup = subgroup[rng.random_range(0..subgroup.len())];
        let f16 = rng.random_range(0..2) == 1;
        let caps = Caps {
            class: [DeviceClass::Gpu, DeviceClass::SoftwareGpu][rng.random_range(0..2)],
            workgroup_memory: (16 << 10)
                + [0, 16 << 10, 48 << 10, 4 * rng.random_range(0..12_000)][rng.random_range(0..4)],
            max_invocations: [256, 512, 1024, rng.random_range(256..1024)][rng.random_range(0..4)],
            max_groups: [65_535, 1 << 20, rng.random_range(16..2048)][rng.random_range(0..3)],
            storage_buffers: rng.random_range(8..32),
            subgroup,
            row_share: subgroup.0 >= 16 && rng.random_range(0..2) == 1,
            f16,
            matrix: [None, Some(8), Some(16)][rng.random_range(0..3)].filter(|_| f16 && subgroup.1 > 0),
            ..Caps::floor()
        };
        Self { rng, device: Device::planner(caps) }
    }

    /// From 1 to `most`, as many below its root as above.
    fn size(&mut self, most: usize) -> usize {
        (most as f64).powf(self.rng.random_range(0.0..1.0)).round() as usize
    }

    /// A multiple of 4.
    fn quads(&mut self, most: usize) -> usize {
        4 * self.size(most / 4)
    }

    fn flag(&mut self) -> bool {
        self.rng.random_range(0..2) == 1
    }

    fn of(&self, dtype: DType, shape: &[usize]) -> Tensor {
        self.device.empty(shape, dtype).expect("a tensor within the floor")
    }

    fn t(&self, shape: &[usize]) -> Tensor {
        self.of(DType::Real, shape)
    }

    /// Whether the kernel has a plan for these caps; an error where the plan leaves them.
    fn plan<K: Kernel>(&self, kernel: &K) -> Result<bool, String> {
        let operands = kernel.operands().map_err(|e| format!("{}: {e}", K::NAME))?;
        let caps = self.device.caps();
        if operands.len() > caps.storage_buffers as usize {
            return Err(format!("{}: {} bindings", K::NAME, operands.len()));
        }
        match kernel.plan(caps) {
            Ok(plan) if plan == kernel.plan(caps).expect("the same plan") => within(caps, &plan).map(|()| true),
            Ok(_) => Err(format!("{}: two plans for one shape", K::NAME)),
            Err(Error::Limit { .. } | Error::Unsupported(_)) => Ok(false),
            Err(e) => Err(format!("{}: {e}", K::NAME)),
        }
    }
}

fn within(caps: &Caps, plan: &Plan) -> Result<(), String> {
    let most = u64::from(caps.max_groups);
    let all: u64 = plan.groups.iter().map(|&x| u64::from(x)).product();
    // What no two dimensions hold may be refused.
    let spread = all > most * most || plan.groups.iter().all(|&x| u64::from(x) <= most);
    let memory = plan.shared_bytes <= caps.workgroup_memory;
    let threads = (1..=caps.max_invocations).contains(&plan.workgroup);
    if spread && memory && threads { Ok(()) } else { Err(format!("{plan:?} leaves {caps:?}")) }
}

type One = fn(&mut Draw) -> Result<bool, String>;

pub fn trials() -> Vec<Trial> {
    let one = |(name, one): &'static (&'static str, One)| {
        Trial::test(format!("plans of {name} respect random caps"), move || {
            let mut planned = 0;
            for seed in 0..DRAWS {
                let fits = one(&mut Draw::new(seed)).map_err(|e| Failed::from(format!("draw {seed}: {e}")))?;
                planned += u64::from(fits);
            }
            // Limits are there for the largest shapes only.
            if 2 * planned > DRAWS { Ok(()) } else { Err(format!("{planned} plans in {DRAWS} draws").into()) }
        })
    };
    KERNELS.iter().map(one).collect()
}

const KERNELS: &[(&str, One)] = &[
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
    ("argmax", |d| {
        let (rows, cols) = (d.size(20_000), d.size(3000));
        d.plan(&ArgMax { x: &d.t(&[rows, cols]), out: &d.of(DType::U32, &[rows]) })
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
    ("cg_direction", |d| {
        let (rows, m) = (d.size(3000), d.size(1000));
        let [y, x, r] = &[(); 3].map(|()| d.t(&[2, rows, m]));
        d.plan(&CgDirection { z: &d.t(&[rows, m]), y, x, r, p: &d.t(&[rows, m]), scalars: &d.t(&[rows, SCALARS]) })
    }),
    ("cg_step", |d| {
        let (rows, m) = (d.size(3000), d.size(1000));
        let [y, x, r] = &[(); 3].map(|()| d.t(&[2, rows, m]));
        d.plan(&CgStep { p: &d.t(&[rows, m]), y, x, r, z: &d.t(&[rows, m]), scalars: &d.t(&[rows, SCALARS]) })
    }),
    ("cholesky_block", |d| {
        let (start, size) = (d.size(500), d.size(64));
        let m = start + size;
        d.plan(&CholeskyBlock { g: &d.t(&[m, m]), info: &d.t(&[2]), start, size, first: 0 })
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
    ("column_unit", |d| {
        let (rows, cols) = (d.size(100), d.size(100_000));
        d.plan(&ColumnUnit { x: &d.t(&[rows, cols]), start: 0, rows, units: &d.t(&[2, cols]) })
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
    ("error_free", |d| {
        let n = d.size(1 << 20);
        d.plan(&ErrorFree { a: &d.t(&[n]), b: &d.t(&[n]), y: &d.t(&[4, n]) })
    }),
    ("fma_chains", |d| {
        let n = d.quads(1 << 22);
        d.plan(&FmaChains { x: &d.t(&[n]), y: &d.t(&[n]), rounds: 1, factor: 0.5, term: 1.0 })
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
    ("gram", |d| {
        let (rows, cols, samples) = (d.size(3000), d.size(3000), d.size(SAMPLES));
        let m = rows + cols;
        let (p, units, tile) = (d.t(&[samples, m]), d.t(&[2, m]), d.t(&[2, rows, cols]));
        d.plan(&Gram { p: &p, start: 0, samples, units: &units, tile: &tile, row0: cols, col0: 0 })
    }),
    ("inner_product", |d| {
        let (n, accumulate) = (d.size(1 << 20), d.flag());
        let [x, y] = &[(); 2].map(|()| d.t(&[n]));
        d.plan(&InnerProduct { x, y, out: &d.t(&[3]), slot: 1, factor: 0.5, accumulate })
    }),
    ("jacobi_scale", |d| {
        let (n, offset) = (d.size(2000), d.size(1000));
        let m = offset + n;
        let (tile, scale, diagonal) = (d.t(&[2, n, n]), d.t(&[m]), d.t(&[2, m]));
        d.plan(&JacobiScale { tile: &tile, gamma: 0.1, offset, scale: &scale, diagonal: &diagonal })
    }),
    ("label_sum", |d| {
        let (rows, classes, cols) = (d.size(200), d.size(100), d.size(100_000));
        d.plan(&LabelSum { p: &d.t(&[rows, cols]), labels: &d.of(DType::U32, &[rows]), q: &d.t(&[2, classes, cols]) })
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
    ("mean_map", |d| {
        let (layout, modules, plain) = (PhiLayout::new(d.size(1000), 1).expect("layout"), d.size(20), d.flag());
        let (phi, omega, out) = (d.t(&[modules, layout.len()]), d.t(&[modules]), d.t(&[layout.e + 1, layout.e]));
        d.plan(&MeanMap { phi: &phi, omega: &omega, out: &out, layout, modules, plain })
    }),
    ("mean_map_backward", |d| {
        let (layout, modules, plain) = (PhiLayout::new(d.size(200), 1).expect("layout"), d.size(300), d.flag());
        let (phi, omega, grad) = (d.t(&[modules, layout.len()]), d.t(&[modules]), d.t(&[layout.e + 1, layout.e]));
        let (dphi, domega) = (d.t(&[layout.len()]), d.t(&[1, modules]));
        let (phi, omega, grad, dphi, domega) = (&phi, &omega, &grad, &dphi, &domega);
        d.plan(&MeanMapBackward { phi, omega, grad, dphi, domega, layout, modules, plain })
    }),
    ("mixture", |d| {
        let shape = [d.size(10_000), d.size(100)];
        d.plan(&MixtureSoftmax { logits: &d.t(&shape), omega: &d.t(&shape) })
    }),
    ("mixture_backward", |d| {
        let (groups, layers, modules) = (d.size(5000), d.size(12), d.size(300));
        let [omega, out] = &[(); 2].map(|()| d.t(&[layers, modules]));
        d.plan(&MixtureBackward { partials: &d.t(&[groups, modules]), omega, out, layer: layers - 1 })
    }),
    ("multiply", |d| {
        let (n, accumulate) = (d.size(1 << 24), d.flag());
        let [a, b, y] = &[(); 3].map(|()| d.t(&[n]));
        d.plan(&Multiply { a, b, y, accumulate })
    }),
    ("noise_combine", |d| {
        let (rows, e, modules, sigma, sample, forward) =
            (d.size(5000), d.quads(1000), d.size(10), d.flag(), d.flag(), d.flag());
        let width = if sigma { 2 * e } else { e };
        let [maps, dmaps] = &[(); 2].map(|()| d.t(&[rows, width]));
        let [dz, eps] = &[(); 2].map(|()| d.t(&[rows, e]));
        let domega = d.t(&[noise_combine::partial_rows(rows, e), modules]);
        let direction = match forward {
            true => Direction::Forward { maps, mixed: dz, keep: true },
            false => Direction::Backward { dz, dmaps, scores: Some((maps, &domega)) },
        };
        let eps = (sigma && sample).then_some(eps);
        d.plan(&NoiseCombine { omega: &d.t(&[modules]), eps, direction, e, module: modules - 1, modules })
    }),
    ("noise_mix", |d| {
        let layers = 1 + usize::from(d.flag());
        let (rows, d1, d2, modules, noise) = (d.size(5000), d.quads(1024), d.size(1024), d.size(5), d.size(3) - 1);
        let layout = PhiLayout::new(d2, layers).expect("layout");
        let [x, residual, y] = &[(); 3].map(|()| d.t(&[rows, d1]));
        let (proj, phi, omega) = (d.t(&[2, d1 * layout.e]), d.t(&[modules, layout.len()]), d.t(&[modules]));
        let mean = d.t(&[layout.e + 1, layout.e]);
        let (proj, phi, omega, mean, noise) = (&proj, &phi, &omega, (layers == 1).then_some(&mean), NOISES[noise].1);
        d.plan(&NoiseMix { x, residual, proj, phi, omega, mean, y, layout, modules, noise })
    }),
    ("noise_mix_backward", |d| {
        let (layers, newest) = (1 + usize::from(d.flag()), d.flag());
        let (rows, d1, d2, modules, noise) = (d.size(5000), d.quads(1024), d.size(1024), d.size(5), d.size(3) - 1);
        let layout = PhiLayout::new(d2, layers).expect("layout");
        let Ok(n) = noise_mix_backward::partial_rows([rows, d1], layout, modules, d.device.caps()) else {
            return Ok(false);
        };
        let [x, dy, dx] = &[(); 3].map(|()| d.t(&[rows, d1]));
        let (proj, phi, omega) = (d.t(&[2, d1 * layout.e]), d.t(&[modules, layout.len()]), d.t(&[modules]));
        let operands = d.t(&[rows, noise_mix_backward::operand_cols(layout)]);
        let domega = d.t(&[n, modules]);
        let newest = newest.then_some(NewestOutputs { operands: &operands, domega: &domega });
        let (proj, phi, omega, residual, noise) = (&proj, &phi, &omega, d.flag(), NOISES[noise].1);
        d.plan(&NoiseMixBackward { x, proj, phi, omega, dy, dx, newest, residual, layout, modules, noise })
    }),
    ("pair_product", |d| {
        let (rows, height, width, transposed) = (d.size(3000), d.size(1000), d.size(1000), d.flag());
        let m = height + width;
        let (x, tile, y) = (d.t(&[rows, m]), d.t(&[2, height, width]), d.t(&[2, rows, m]));
        let (scale, diagonal) = (&d.t(&[m]), &d.t(&[2, m]));
        d.plan(&PairProduct { x: &x, tile: &tile, row0: width, col0: 0, scale, diagonal, transposed, y: &y })
    }),
    ("patch_embed", |d| {
        let (b, c, h, w, patch, cols) = (d.size(300), d.size(4), d.size(14), d.size(14), d.size(16), d.size(800));
        let tokens = if d.flag() { 5 } else { 0 };
        let (images, weight) = (&d.t(&[b, c, h * patch, w * patch]), &d.t(&[c * patch * patch, cols]));
        let (pos, out) = (&d.t(&[h * w, cols]), &d.t(&[b, tokens + h * w, cols]));
        let prefix = (tokens > 0).then(|| d.t(&[tokens, cols]));
        d.plan(&PatchEmbed { images, weight, prefix: prefix.as_ref(), pos, out, patch })
    }),
    ("philox_normal", |d| {
        let (rows, d2, raw) = (d.size(5000), d.size(1000), d.flag());
        let (dtype, d2) = if raw { (DType::U32, d2.next_multiple_of(4)) } else { (DType::Real, d2) };
        let stream = Stream { seed: 1, layer: 2, task: 3, step: 4, first_row: 0 };
        d.plan(&PhiloxNormal { out: &d.of(dtype, &[rows, d2.next_multiple_of(4)]), d2, stream })
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
    ("scaled_tile", |d| {
        let (rows, cols) = (d.size(1500), d.size(1500));
        let m = rows + cols;
        let (tile, f) = (d.t(&[2, rows, cols]), d.t(&[rows, cols]));
        let (scale, diagonal) = (&d.t(&[m]), &d.t(&[2, m]));
        d.plan(&ScaledTile { tile: &tile, scale, diagonal, row0: cols, col0: 0, shift: 0.1, f: &f })
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
    ("stream_copy", |d| {
        let n = d.quads(1 << 22);
        d.plan(&StreamCopy { x: &d.t(&[n]), y: &d.t(&[n]) })
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
    ("triangular_rows", |d| {
        let (start, size, rows, transposed) = (d.size(100), d.size(64), d.size(20_000), d.flag());
        let m = start + size;
        let (l, rhs, scratch) = (d.t(&[m, m]), d.t(&[rows, m]), d.t(&[rows, m]));
        let (l, rhs, scratch) = (Some(&l), Mat::of(&rhs), &scratch);
        d.plan(&TriangularRows { l, start, size, rhs, rows, scratch, transposed })
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
