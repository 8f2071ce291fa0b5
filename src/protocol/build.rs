//! From settings to a learner: weights, frozen random matrices and initial modules, all from the run's seed.

use std::f64::consts::TAU;
use std::ops::Range;
use std::rc::Rc;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::Result;
use crate::config::{self, Config, EvalNoise, Method, OptimizerKind, Profile};
use crate::device::Device;
use crate::method::random::{Purpose, rng};
use crate::method::{
    Acil, Aper, Coda, Core, Course, Draw, DsAl, DualPrompt, Ease, FeCam, First, Frozen, Head, Init, L2p, Learner, Min,
    Ncm, Official, Paper, Part, Pupil, RanPac, Robust, Settings, SimpleCil, Slca, SlcaCourse, SlcaDraws, Trained,
    Tuning,
};
use crate::model::adapter::Bottleneck;
use crate::model::facts::Facts;
use crate::model::head::Statistics;
use crate::model::network::{Anchor, Network};
use crate::model::noise::{NoiseLayers, Path, PhiLayout};
use crate::model::optimizer::Rule;
use crate::model::vit::{Architecture, Vit};
use crate::model::weights::Weights;

/// The embedded backbone: 679,200 parameters, see `weights/README.md`.
const ICONS: &[u8] = include_bytes!("../../weights/vit-icons.safetensors");

/// `n` numbers, uniform in +-1 / sqrt(fan) (Kaiming uniform with a = sqrt 5).
pub(super) fn uniform(rng: &mut ChaCha8Rng, n: usize, fan: usize) -> Vec<f64> {
    let bound = 1.0 / (fan as f32).sqrt();
    (0..n).map(|_| f64::from(rng.random_range(-bound..bound))).collect()
}

/// `n` numbers of the standard normal distribution (Box and Muller).
fn normal(rng: &mut ChaCha8Rng, n: usize) -> Vec<f64> {
    let pair = |_| {
        let (radius, angle) = ((-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt(), TAU * rng.random::<f64>());
        // Numbers that are the same in either precision.
        [angle.cos(), angle.sin()].map(|x| f64::from((radius * x) as f32))
    };
    let mut numbers: Vec<f64> = (0..n.div_ceil(2)).flat_map(pair).collect();
    numbers.truncate(n);
    numbers
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

/// The backbone, and its architecture before it is loaded.
fn architecture(config: &Config) -> Result<(Architecture, Weights)> {
    let (weights, told) = backbone(&config.weights, &config.arch)?;
    let size = config.images.image_size;
    Ok((Architecture::of(&weights, told, (size > 0).then_some(size))?, weights))
}

/// Backbone, noise layers without modules, random features, empty statistics.
pub(super) fn core(config: &Config, device: &Device) -> Result<Core> {
    let (architecture, weights) = architecture(config)?;
    let vit = architecture.sizes;
    let (d1, d2, m) = (vit.dim, config.noise_hidden, config.buffer_size);
    let mut frozen = rng(config.seed, Purpose::Frozen);
    let random = uniform(&mut frozen, d1 * m, m);
    let mut projection = |_| (uniform(&mut frozen, d1 * d2, d2), uniform(&mut frozen, d2 * d1, d1));
    let projections: Vec<_> = (0..vit.depth).map(&mut projection).collect();
    let layout = PhiLayout::new(d2, config.phi_layers)?;
    let branches = match config.profile {
        Profile::Paper => false,
        Profile::Official => true,
        Profile::Robust => config.robust.adapt_epochs > 0,
    };
    let vit = Vit::load(device, architecture, weights, config.f16_weights)?;
    let noise = NoiseLayers::new(device, layout, d1, &projections, branches)?;
    let mut network = if config.profile == Profile::Robust {
        robust(config, vit, noise, &random)?
    } else {
        Network { device: device.clone(), vit, noise, random: device.upload(&random, &[d1, m])?, anchor: None }
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

/// Blocks from which on half of a backbone is adapted instead of all.
const DEEP: usize = 12;

/// The network of profile `robust`, from R [d1, m].
fn robust(config: &Config, vit: Vit, noise: NoiseLayers, random: &[f64]) -> Result<Network> {
    let (device, depth, m) = (vit.device().clone(), vit.architecture.sizes.depth, config.buffer_size);
    let mut noise = noise.from(if depth < DEEP { 0 } else { depth / 2 });
    if config.robust.scale_free {
        noise = noise.normalised()?;
    }
    // Columns of R up to m / 2 are those of the anchor.
    let anchored = if config.robust.anchor { m / 2 } else { 0 };
    let columns = |range: Range<usize>| {
        let part: Vec<f64> = random.chunks(m).flat_map(|row| &row[range.clone()]).copied().collect();
        device.upload(&part, &[random.len() / m, range.len()])
    };
    let anchor = match config.robust.anchor {
        false => None,
        true => Some(Anchor { vit: vit.clone(), random: columns(0..anchored)? }),
    };
    let vit = vit.with_own_norms(noise.first)?;
    Ok(Network { random: columns(anchored..m)?, device, vit, noise, anchor })
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

/// The learner of the method that the settings name.
pub(super) fn learner(config: &Config, device: &Device) -> Result<Box<dyn Learner>> {
    let buffer = |d: usize, m: usize| uniform(&mut rng(config.seed, Purpose::Buffer), d * m, d);
    let ranpac = |d: usize| {
        let m = config.ranpac.projection;
        RanPac::new(device, &normal(&mut rng(config.seed, Purpose::Projection), d * m), m)
    };
    match config.method {
        Method::Min => min(config, device),
        Method::SimpleCil => frozen(config, device, |d| SimpleCil::new(device, d)),
        Method::Ncm => frozen(config, device, |d| Ncm::new(device, d)),
        Method::RanPac if config.ranpac.adapters => {
            let pupil = |tuning, d: usize| Ok(Aper::new(tuning, false, ranpac(d)?));
            tuned(config, device, config::Aper::default(), pupil)
        }
        Method::RanPac => frozen(config, device, ranpac),
        Method::FeCam => frozen(config, device, |d| Ok(FeCam::new(d, config.fecam.shrink))),
        Method::Acil => frozen(config, device, |d| {
            let m = config.acil.buffer_size;
            Acil::new(device, &buffer(d, m), m, config.acil.gamma)
        }),
        Method::DsAl => frozen(config, device, |d| {
            let of = config.dsal;
            DsAl::new(device, &buffer(d, of.buffer_size), of.buffer_size, [of.gamma, of.gamma_comp], of.compensation)
        }),
        Method::Aper => {
            let pupil = |tuning, d: usize| Ok(Aper::new(tuning, true, SimpleCil::new(device, 2 * d)?));
            tuned(config, device, config.aper, pupil)
        }
        Method::Ease => {
            let config::Ease { hidden, scale, dropout, alpha } = config.ease;
            let pupil = |tuning, d: usize| Ease::new(device, tuning, alpha, d);
            tuned(config, device, config::Aper { hidden, scale, dropout }, pupil)
        }
        Method::L2p => prompted(config, device, |vit, course, draw| L2p::new(vit, config.l2p, course, draw)),
        Method::DualPrompt => {
            prompted(config, device, |vit, course, draw| DualPrompt::new(vit, config.dualprompt.clone(), course, draw))
        }
        Method::Coda => prompted(config, device, |vit, course, draw| Coda::new(vit, config.coda.clone(), course, draw)),
        Method::Slca => slca(config, device),
    }
}

/// Adapters of this size, which are trained by SGD, for the frozen backbone.
fn tuned<P: Pupil + 'static>(
    config: &Config,
    device: &Device,
    of: config::Aper,
    pupil: impl FnOnce(Tuning, usize) -> Result<P>,
) -> Result<Box<dyn Learner>> {
    let (architecture, weights) = architecture(config)?;
    let (seed, d) = (config.seed, architecture.sizes.dim);
    let draw = move |task: usize, first: First, n: usize| {
        let purpose = match first {
            First::Down(block) => Purpose::Adapter { task, block },
            First::Head => Purpose::CosineHead { task },
        };
        Ok(uniform(&mut rng(seed, purpose), n, d))
    };
    let &Config { lr, momentum, weight_decay, .. } = config;
    let tuning = Tuning {
        of: Bottleneck { hidden: of.hidden, scale: of.scale },
        dropout: of.dropout,
        rule: Rule::Sgd { lr, momentum, weight_decay },
        epochs: epochs(config),
        seed,
        draw: Rc::new(draw),
    };
    let vit = Vit::load(device, architecture, weights, config.f16_weights)?;
    let pupil = pupil(tuning, d)?;
    Ok(Box::new(Trained::new(vit, pupil, config.fit_batch, config.images.augment, config.f16_activations)?))
}

/// The backbone as a whole, and heads.
fn slca(config: &Config, device: &Device) -> Result<Box<dyn Learner>> {
    let (architecture, weights) = architecture(config)?;
    let vit = Vit::load_trainable(device, architecture, weights)?;
    let &Config { lr, momentum, weight_decay, .. } = config;
    let course = SlcaCourse { of: config.slca.clone(), lr, momentum, weight_decay, epochs: epochs(config) };
    let pupil = Slca::new(&vit, course, Rc::new(Seeded(config.seed)))?;
    Ok(Box::new(Trained::new(vit, pupil, config.fit_batch, config.images.augment, config.f16_activations)?))
}

/// SLCA's random numbers by the seed of a run.
#[derive(Debug)]
struct Seeded(u64);

impl SlcaDraws for Seeded {
    /// Of deviation 0.02; the authors cut them off at 100 deviations.
    fn head(&self, task: usize, [classes, d]: [usize; 2]) -> Result<Vec<f64>> {
        let numbers = normal(&mut rng(self.0, Purpose::SlcaHead { task }), classes * d);
        Ok(numbers.into_iter().map(|x| f64::from(0.02 * x as f32)).collect())
    }

    fn normals(&self, task: usize, epoch: usize, class: usize, [n, d]: [usize; 2]) -> Result<Vec<f64>> {
        Ok(normal(&mut rng(self.0, Purpose::Drawn { task, epoch, class }), n * d))
    }

    fn order(&self, task: usize, epoch: usize, features: usize) -> Result<Vec<usize>> {
        let mut order: Vec<usize> = (0..features).collect();
        order.shuffle(&mut rng(self.0, Purpose::DrawnOrder { task, epoch }));
        Ok(order)
    }
}

/// Prompts, which are trained by Adam, for the frozen backbone.
fn prompted<P: Pupil + 'static>(
    config: &Config,
    device: &Device,
    pupil: impl FnOnce(&Vit, Course, Draw) -> Result<P>,
) -> Result<Box<dyn Learner>> {
    let (architecture, weights) = architecture(config)?;
    let (seed, d, mixed) = (config.seed, architecture.sizes.dim, config.method == Method::Coda);
    let draw = Draw::new(move |part, entry, n| {
        let mut rng = rng(seed, Purpose::Entry { part: part.number(), entry });
        Ok(match part {
            // PyTorch's default for a linear layer, as CODA-Prompt has it; zero elsewhere.
            Part::Weight | Part::Bias if mixed => uniform(&mut rng, n, d),
            Part::Weight | Part::Bias => vec![0.0; n],
            Part::Prompt | Part::Key | Part::General | Part::Expert => {
                (0..n).map(|_| f64::from(rng.random_range(0.0..0.01f32))).collect()
            }
            Part::Component(_) | Part::ComponentKey(_) | Part::Attention(_) => normal(&mut rng, n),
        })
    });
    let rule = Rule::Adam { lr: config.lr, betas: [0.9, 0.999], eps: 1e-8 };
    let vit = Vit::load(device, architecture, weights, config.f16_weights)?;
    let pupil = pupil(&vit, Course { rule, epochs: epochs(config) }, draw)?;
    Ok(Box::new(Trained::new(vit, pupil, config.fit_batch, config.images.augment, config.f16_activations)?))
}

/// A head for features of d numbers on the frozen backbone.
fn frozen<H: Head + 'static>(
    config: &Config,
    device: &Device,
    head: impl FnOnce(usize) -> Result<H>,
) -> Result<Box<dyn Learner>> {
    let (architecture, weights) = architecture(config)?;
    let head = head(architecture.sizes.dim)?;
    let vit = Vit::load(device, architecture, weights, config.f16_weights)?;
    Ok(Box::new(Frozen::new(vit, head, config.fit_batch)?))
}

/// The learner by MiN of the profile that the settings name.
fn min(config: &Config, device: &Device) -> Result<Box<dyn Learner>> {
    let (core, init) = (core(config, device)?, init(config)?);
    Ok(match config.profile {
        Profile::Paper => Box::new(Min::new(core, paper(config), init)),
        Profile::Official => {
            let official = Official { rule: rule(config), epochs: epochs(config), fit_epochs: config.fit_epochs };
            Box::new(Min::new(core, official, init))
        }
        Profile::Robust => {
            let adaptation = rule(&Config { lr: config.robust.adapt_lr, ..config.clone() });
            let (paper, parts, epochs) = (paper(config), config.robust, epochs(config));
            Box::new(Min::new(core, Robust { paper, parts, adaptation, epochs }, init))
        }
    })
}

/// Epochs of the noise of the first task, and of a later one.
fn epochs(config: &Config) -> [usize; 2] {
    [config.init_epochs, config.epochs]
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
        epochs: epochs(config),
        seed: config.seed,
    })
}

#[cfg(test)]
mod tests;
