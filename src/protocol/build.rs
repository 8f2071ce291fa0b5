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
mod tests {
    use pollster::block_on;

    use super::*;
    use crate::device::{Precision, Tensor};
    use crate::method::{Extent, Observer, Over, Phase, Samples, Task};

    struct Nobody;

    impl Observer for Nobody {
        fn begin(&mut self, _: Phase, _: &str, _: usize) {}
        fn advance(&mut self, _: usize) {}
        fn end(&mut self, _: Phase, _: Option<f64>) {}
    }

    /// Small, so that all of them learn in no time.
    fn settings(method: Method) -> Config {
        let mut config = Config { fit_batch: 5, ..Config::of_method(method) };
        if method == Method::Min {
            config.buffer_size = 32;
        }
        (config.ranpac.projection, config.acil.buffer_size, config.dsal.buffer_size) = (40, 32, 24);
        (config.slca.ca_epochs, config.slca.ca_samples) = (1, 3);
        (config.l2p.length, config.coda.pool, config.coda.mu) = (2, 20, 0.1);
        if method != Method::Min {
            (config.epochs, config.init_epochs) = (1, 1);
        }
        config
    }

    /// Images of two classes a task, 6 of each.
    fn task(learner: &dyn Learner, index: usize) -> Task {
        let sizes = learner.backbone().architecture.sizes;
        let shape = [sizes.channels, sizes.image, sizes.image];
        let labels: Vec<u32> = (0..12).map(|i| (2 * index + i % 2) as u32).collect();
        let mut rng = rng(index as u64, Purpose::Frozen);
        let pixels = uniform(&mut rng, labels.len() * shape.iter().product::<usize>(), 1);
        let samples = Samples::in_memory(shape, pixels.iter().map(|&x| x as f32).collect(), labels).unwrap();
        let order: Vec<usize> = (0..12).map(|i| i * 7 % 12).collect();
        let schedule = order.chunks(4).cycle().take(3 * learner.epochs(index)).map(<[usize]>::to_vec).collect();
        Task { index, samples, first_class: 2 * index, classes: 2 * index + 2, schedule }
    }

    fn scores(learner: &dyn Learner, device: &Device) -> Vec<f32> {
        let sizes = learner.backbone().architecture.sizes;
        let shape = [3, sizes.channels, sizes.image, sizes.image];
        let pixels = uniform(&mut rng(9, Purpose::Frozen), shape.iter().product(), 1);
        let images: Tensor = device.upload(&pixels, &shape).unwrap();
        let scores = learner.logits(&images, 0).unwrap();
        assert_eq!(scores.shape(), [3, 4]);
        block_on(device.read(&scores)).unwrap()
    }

    /// Every method is there, and one that is interrupted after any step goes on as if it had not been.
    #[test]
    fn methods_go_on_from_their_state() {
        let device = Device::cpu(Precision::F32);
        for method in Method::ALL {
            let config = settings(method);
            let mut whole = learner(&config, &device).unwrap();
            block_on(whole.learn(task(whole.as_ref(), 0), &mut Nobody)).unwrap();
            let first = block_on(whole.state()).unwrap();
            // Of MiN, whose steps are many, the first ones.
            let stops = if method == Method::Min { 2 } else { 40 };
            block_on(whole.learn(task(whole.as_ref(), 1), &mut Nobody)).unwrap();
            let want = scores(whole.as_ref(), &device);
            assert!(want.iter().all(|x| x.is_finite()), "{method:?}");
            let mut reached = 0;
            for stop in 0..stops {
                let mut begun = learner(&config, &device).unwrap();
                block_on(begun.restore(first.clone(), None)).unwrap();
                begun.begin(task(begun.as_ref(), 1)).unwrap();
                let over = (0..stop).any(|_| block_on(begun.step(&mut Nobody)).unwrap().over == Over::Task);
                if over {
                    break;
                }
                let state = block_on(begun.state()).unwrap();
                let mut again = learner(&config, &device).unwrap();
                block_on(again.restore(state, Some(task(again.as_ref(), 1)))).unwrap();
                while block_on(again.step(&mut Nobody)).unwrap().over != Over::Task {}
                assert!(scores(again.as_ref(), &device) == want, "{method:?} stopped after {stop} steps");
                reached = stop;
            }
            // Three batches of the pass, and what the head does.
            assert!(reached >= 1 && (method == Method::Min || (3..39).contains(&reached)), "{method:?}: {reached}");
        }
    }

    /// Adapters that the first task alone trains, interrupted there after any step, and the head that stands on them.
    #[test]
    fn the_first_task_goes_on_from_its_state() {
        let device = Device::cpu(Precision::F32);
        for method in [Method::Aper, Method::RanPac] {
            let mut config = settings(method);
            config.ranpac.adapters = method == Method::RanPac;
            let mut whole = learner(&config, &device).unwrap();
            block_on(whole.learn(task(whole.as_ref(), 0), &mut Nobody)).unwrap();
            assert!(whole.trained() > 0 && whole.epochs(1) == usize::from(config.ranpac.adapters), "{method:?}");
            block_on(whole.learn(task(whole.as_ref(), 1), &mut Nobody)).unwrap();
            let want = scores(whole.as_ref(), &device);
            // The beginning, three batches of training and of the pass, and what the head does first.
            for stop in 0..8 {
                let mut begun = learner(&config, &device).unwrap();
                begun.begin(task(begun.as_ref(), 0)).unwrap();
                let over = (0..stop).any(|_| block_on(begun.step(&mut Nobody)).unwrap().over == Over::Task);
                assert!(!over, "{method:?}: over after {stop} steps");
                let state = block_on(begun.state()).unwrap();
                let mut again = learner(&config, &device).unwrap();
                block_on(again.restore(state, Some(task(again.as_ref(), 0)))).unwrap();
                while block_on(again.step(&mut Nobody)).unwrap().over != Over::Task {}
                block_on(again.learn(task(again.as_ref(), 1), &mut Nobody)).unwrap();
                assert!(scores(again.as_ref(), &device) == want, "{method:?} stopped after {stop} steps");
            }
        }
    }

    /// Where memory is short a batch is taken in parts, which drop what the whole would.
    #[test]
    fn adapters_are_trained_in_parts_where_memory_is_short() {
        let (device, config) = (Device::cpu(Precision::F64), settings(Method::Ease));
        let learned = |limit: u64| {
            let mut learner = learner(&config, &device).unwrap();
            let samples = task(learner.as_ref(), 0).samples;
            let extent = Extent { tasks: 2, classes: 4, task_classes: 2, batch: 4, images: 12, samples };
            let footprint = learner.fit_memory(&extent, limit).unwrap();
            for index in 0..2 {
                block_on(learner.learn(task(learner.as_ref(), index), &mut Nobody)).unwrap();
            }
            (footprint, scores(learner.as_ref(), &device))
        };
        let (whole, want) = learned(u64::MAX);
        let (parts, got) = learned(whole.bytes - 1);
        assert!(whole.parts.images == 4 && parts.parts.images < 4 && parts.bytes < whole.bytes, "{whole:?}, {parts:?}");
        // Sums in another order.
        assert!(got.iter().zip(&want).all(|(x, y)| (x - y).abs() < 1e-5), "{got:?} for {want:?}");
    }

    /// Without statistics there are scores, and nothing else can be restored.
    #[test]
    fn states_of_other_methods_are_refused() {
        let device = Device::cpu(Precision::F32);
        let mut states = Vec::new();
        for method in Method::ALL {
            let mut learner = learner(&settings(method), &device).unwrap();
            for index in 0..2 {
                block_on(learner.learn(task(learner.as_ref(), index), &mut Nobody)).unwrap();
            }
            states.push((method, scores(learner.as_ref(), &device), block_on(learner.state()).unwrap()));
        }
        for (method, want, state) in &states {
            let mut quick = state.clone();
            quick.prune("head/statistics");
            quick.prune("core/statistics");
            let mut again = learner(&settings(*method), &device).unwrap();
            block_on(again.restore(quick, None)).unwrap();
            assert!(scores(again.as_ref(), &device) == *want, "{method:?}");
            // Which of the two made means is not in their shape.
            let alike = |other: &Method| [*method, *other].iter().all(|m| [Method::SimpleCil, Method::Ncm].contains(m));
            for (other, _, state) in states.iter().filter(|(other, ..)| other != method && !alike(other)) {
                let mut learner = learner(&settings(*method), &device).unwrap();
                assert!(block_on(learner.restore(state.clone(), None)).is_err(), "{method:?} from {other:?}");
            }
        }
    }

    #[test]
    fn normal_numbers_have_their_moments() {
        let (n, mut rng) = (100_001, rng(1, Purpose::Projection));
        let numbers = normal(&mut rng, n);
        assert_eq!(numbers.len(), n);
        let moment = |k: i32| numbers.iter().map(|x| x.powi(k)).sum::<f64>() / n as f64;
        // Six standard deviations of each mean: variances 1, 2, 15 and 96 over n.
        for (k, want, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            assert!((moment(k) - want).abs() < 6.0 * f64::sqrt(variance / n as f64), "{k}: {}", moment(k));
        }
        assert!(numbers.iter().all(|&x| f64::from(x as f32) == x));
    }
}
