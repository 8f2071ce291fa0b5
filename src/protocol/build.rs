//! From settings to a learner: weights, frozen random matrices and initial modules, all from the run's seed.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Result;
use crate::config::{Config, EvalNoise, OptimizerKind, Profile};
use crate::device::Device;
use crate::method::{Core, Init, Learner, Min, Official, Paper, Settings};
use crate::model::facts::Facts;
use crate::model::head::Statistics;
use crate::model::network::Network;
use crate::model::noise::{NoiseLayers, Path, PhiLayout};
use crate::model::optimizer::Rule;
use crate::model::vit::{Architecture, Vit};
use crate::model::weights::Weights;

/// The embedded backbone: 679,200 parameters, see `weights/README.md`.
const ICONS: &[u8] = include_bytes!("../../weights/vit-icons.safetensors");

/// Independent streams of the run's seed.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Frozen,
    Module { task: usize, layer: usize },
    Schedule { task: usize },
}

pub(super) fn rng(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(match purpose {
        Purpose::Frozen => 0,
        Purpose::Module { task, layer } => 1 << 40 | (task as u64) << 16 | layer as u64,
        Purpose::Schedule { task } => 2 << 40 | task as u64,
    });
    rng
}

/// `n` numbers, uniform in +-1 / sqrt(fan) (Kaiming uniform with a = sqrt 5).
pub(super) fn uniform(rng: &mut ChaCha8Rng, n: usize, fan: usize) -> Vec<f64> {
    let bound = 1.0 / (fan as f32).sqrt();
    (0..n).map(|_| f64::from(rng.random_range(-bound..bound))).collect()
}

/// The update rule that the settings name.
fn rule(config: &Config) -> Rule {
    let (lr, weight_decay) = (config.lr, config.weight_decay);
    match config.optimizer {
        OptimizerKind::Sgd => Rule::Sgd { lr, momentum: config.momentum, weight_decay },
        OptimizerKind::Adamw => Rule::AdamW { lr, weight_decay },
    }
}

/// The tensors of the setting `weights`, and what is told of them; `arch` as in the settings.
pub(super) fn backbone(weights: &str, arch: &str) -> Result<(Weights, Facts)> {
    let weights = match weights {
        "icons" => Weights::parse("icons", ICONS)?,
        name if name.starts_with("hf:") => Weights::from_hub(name)?,
        path => Weights::open(path.as_ref())?,
    };
    let told = Facts::of(&weights, (arch != "auto").then_some(arch))?;
    Ok((weights, told))
}

/// Backbone, noise layers without modules, random features, empty statistics.
pub(super) fn core(config: &Config, device: &Device) -> Result<Core> {
    let (weights, told) = backbone(&config.weights, &config.arch)?;
    let size = config.images.image_size;
    let architecture = Architecture::of(&weights, told, (size > 0).then_some(size))?;
    let vit = architecture.sizes;
    let (d1, d2, m) = (vit.dim, config.noise_hidden, config.buffer_size);
    let mut frozen = rng(config.seed, Purpose::Frozen);
    let random = uniform(&mut frozen, d1 * m, m);
    let mut projection = |_| (uniform(&mut frozen, d1 * d2, d2), uniform(&mut frozen, d2 * d1, d1));
    let projections: Vec<_> = (0..vit.depth).map(&mut projection).collect();
    let layout = PhiLayout::new(d2, config.phi_layers)?;
    let official = config.profile == Profile::Official;
    let mut network = Network {
        device: device.clone(),
        vit: Vit::load(device, architecture, weights, config.f16_weights)?,
        noise: NoiseLayers::new(device, layout, d1, &projections, official)?,
        random: device.upload(&random, &[d1, m])?,
    };
    network.noise.path = (!config.fused_noise).then_some(Path::Unfused);
    let sample_seed = (config.eval_noise == EvalNoise::Sample).then_some(config.seed);
    let mut core = Core::new(network, config.gamma, config.fit_batch, sample_seed)?;
    core.parts.halves = config.f16_activations;
    if config.keep_class_statistics {
        core.statistics = Statistics::by_class(m)?;
    }
    Ok(core)
}

/// New modules: fc1 uniform, the rest zero, so that a module starts as the identity.
fn init(config: &Config) -> Result<Init> {
    let (seed, layout) = (config.seed, PhiLayout::new(config.noise_hidden, config.phi_layers)?);
    Ok(Box::new(move |task, layer| {
        let mut rng = rng(seed, Purpose::Module { task, layer });
        let mut row = vec![0.0; layout.len()];
        if layout.layers == 2 {
            for kind in ["mu", "sigma"] {
                let weight = uniform(&mut rng, layout.d2 * layout.d2, layout.d2);
                layout.pack(&format!("{kind}.fc1.weight"), &weight, &mut row)?;
            }
        }
        Ok(row)
    }))
}

/// The learner of the profile that the settings name.
pub(super) fn learner(config: &Config, device: &Device) -> Result<Box<dyn Learner>> {
    let (core, init) = (core(config, device)?, init(config)?);
    Ok(match config.profile {
        Profile::Paper => Box::new(Min::new(core, paper(config), init)),
        Profile::Official => {
            Box::new(Min::new(core, Official { rule: rule(config), fit_epochs: config.fit_epochs }, init))
        }
    })
}

fn paper(config: &Config) -> Paper {
    Paper(Settings {
        noise: config.noise,
        mixing: config.mixture,
        pipeline: config.pipeline,
        refit: config.refit,
        grad_through_analytic: config.grad_through_analytic,
        temperature: config.temperature,
        rule: rule(config),
        seed: config.seed,
    })
}
