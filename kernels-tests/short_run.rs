//! The default runs of all profiles and rivals on a few classes, beside the f64 twins: the program's whole way on a device.

use libtest_mimic::{Failed, Trial};
use minoise::config::{Config, EvalNoise, Method, OptimizerKind, Profile, Robust};
use minoise::data::{Dataset, Images, icons};
use minoise::device::{Device, Options, Selector};
use minoise::protocol::{Metrics, Session, Watch, run};
use minoise::report::Memory;
use minoise::{Error, Result};
use pollster::block_on;

const CLASSES: u32 = 4;
/// Of so many images one is taken: checked shaders are slow on software devices.
const EVERY: usize = 2;
/// Of rivals that train, at most.
const EPOCHS: usize = 3;
/// Share of predictions on which rounding may decide: images as near to two classes.
const DOUBTFUL: f64 = 0.02;

/// What was predicted after each task.
#[derive(Default)]
struct Predictions(Vec<u32>);

impl Watch for Predictions {
    fn task(&mut self, _: &Metrics, predicted: &[u32], _: f64) {
        self.0.extend(predicted);
    }
}

fn first_classes(images: &Images) -> Images {
    let few: Vec<_> = (0..images.len()).step_by(EVERY).filter(|&i| images.labels[i] < CLASSES).collect();
    images.pick(&few)
}

fn dataset() -> Result<Dataset> {
    let mut all = icons()?;
    all.classes.truncate(CLASSES as usize);
    Ok(Dataset { train: first_classes(&all.train), test: first_classes(&all.test), ..all })
}

fn settings(profile: Profile) -> Config {
    let robust = Robust { adapt_epochs: 1, ..Robust::default() };
    let few =
        Config { init_classes: 2, increment: 2, epochs: 1, init_epochs: 1, buffer_size: 512, ..Config::of(profile) };
    Config { robust, ..few }
}

/// With few epochs and random features: many take long on software devices.
fn rival(method: Method) -> Config {
    let mut config = Config { init_classes: 2, increment: 2, ..Config::of_method(method) };
    config.epochs = config.epochs.min(EPOCHS);
    config.init_epochs = config.epochs;
    (config.ranpac.projection, config.acil.buffer_size, config.dsal.buffer_size) = (256, 256, 128);
    config
}

/// Accuracy over all tasks and what was predicted.
fn learned(device: &Device, config: &Config) -> Result<(f64, Vec<u32>)> {
    let mut predictions = Predictions::default();
    let results = block_on(run(config, device, &dataset()?, &mut predictions))?;
    Ok((results.measured.metrics.a_avg, predictions.0))
}

fn as_the_twins(device: &Device, oracle: &Device, config: &Config, least: f64) -> Result<(), Failed> {
    let (got, want) = (learned(device, config)?, learned(oracle, config)?);
    let differ = got.1.iter().zip(&want.1).filter(|(a, b)| a != b).count();
    if got.1.len() != want.1.len() || differ as f64 > DOUBTFUL * want.1.len() as f64 {
        return Err(format!("{differ} of {} predictions differ from the {} twins'", got.1.len(), want.1.len()).into());
    }
    // By chance a half, then a quarter.
    if got.0 < least {
        return Err(format!("accuracy {:.3} in the mean over the tasks", got.0).into());
    }
    Ok(())
}

fn open(selector: &Selector, memory: Option<u64>) -> Result<Device> {
    block_on(Device::open_with(selector, &Options { memory, saved: false, ..Options::default() }))
}

/// What a run is planned to take, beside what it takes, in bytes; and what it predicts.
fn taken(selector: &Selector, config: &Config) -> Result<(Memory, u64, Vec<u32>), Failed> {
    let device = open(selector, (config.memory_mib > 0).then(|| config.memory_limit()))?;
    let planned = Session::new(config, &device, &dataset()?)?.memory();
    device.trim();
    let predicted = learned(&device, config)?.1;
    let took = device.stats().peak_bytes_in_use;
    // A plan may count what is not there at the same time, such as statistics beside training.
    if took > planned.planned_bytes || 10 * took < 7 * planned.planned_bytes {
        return Err(format!("{took} bytes taken, {planned:?}").into());
    }
    Ok((planned, took, predicted))
}

/// With less memory a run learns the same in smaller parts, or with blocks that are computed once more; with next to nothing
/// it is refused before it begins.
fn within_memory(selector: &Selector, batch_size: usize, share: f64) -> Result<(), Failed> {
    // Few random features, so that training takes more than the classifier.
    let mut config = Config { batch_size, buffer_size: 256, ..settings(Profile::Paper) };
    let (whole, _, want) = taken(selector, &config)?;
    config.memory_mib = ((share * whole.planned_bytes as f64) as usize >> 20).max(1);
    let (memory, _, got) = taken(selector, &config)?;
    if memory.training_part == whole.training_part && !memory.recomputed {
        return Err(format!("{memory:?} within {} MiB", config.memory_mib).into());
    }
    let differ = got.iter().zip(&want).filter(|(a, b)| a != b).count();
    if differ as f64 > DOUBTFUL * want.len() as f64 {
        return Err(format!("{differ} of {} predictions differ with {memory:?}", want.len()).into());
    }
    config.memory_mib = 1;
    match Session::new(&config, &open(selector, None)?, &dataset()?) {
        Err(Error::Limit { .. }) => Ok(()),
        other => Err(format!("a megabyte gives {other:?}").into()),
    }
}

/// Settings that take memory in other ways than the default run.
fn footprints(selector: &Selector) -> Result<(), Failed> {
    let paper = || settings(Profile::Paper);
    for config in [
        settings(Profile::Official),
        settings(Profile::Robust),
        Config { noise: false, buffer_size: 512, ..settings(Profile::Robust) },
        Config { noise: false, fit_batch: 16, ..paper() },
        Config { eval_noise: EvalNoise::Sample, ..paper() },
        Config { keep_class_statistics: true, buffer_size: 512, ..paper() },
        Config { optimizer: OptimizerKind::Adamw, lr: 1e-3, ..paper() },
        Config { fit_batch: 16, ..rival(Method::RanPac) },
        rival(Method::FeCam),
        rival(Method::DsAl),
    ] {
        taken(selector, &config)?;
    }
    let few = Config { buffer_size: 256, ..paper() };
    let [whole, halves] =
        [false, true].map(|f16_activations| taken(selector, &Config { f16_activations, ..few.clone() }));
    let (whole, halves) = (whole?.1, halves?.1);
    if 10 * halves > 8 * whole {
        return Err(format!("{halves} bytes with halves, {whole} without").into());
    }
    Ok(())
}

/// `rivals`: those, too, which take long.
pub fn trials(devices: &[(String, Device)], oracle: &Device, rivals: bool) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (label, device) in devices {
        let selector = if device.is_cpu() { Selector::Cpu } else { Selector::Named(device.name().into()) };
        for (batch_size, share) in [(32, 0.6), (8, 0.8)] {
            let (name, selector) =
                (format!("short run within memory, {batch_size} images [{label}]"), selector.clone());
            trials.push(Trial::test(name, move || within_memory(&selector, batch_size, share)));
        }
        trials.push(Trial::test(format!("short runs take what is planned [{label}]"), move || footprints(&selector)));
        let profiles = [Profile::Paper, Profile::Official, Profile::Robust];
        let profiles = profiles.map(|profile| (format!("{profile:?}"), settings(profile), 0.8));
        let methods = Method::ALL.into_iter().filter(|&method| rivals && method != Method::Min);
        let rivals = methods.map(|method| (format!("{method:?}"), rival(method), 0.6));
        for (name, config, least) in profiles.into_iter().chain(rivals) {
            let (device, oracle) = (device.clone(), oracle.clone());
            let name = format!("short run of {} [{label}]", name.to_lowercase());
            trials.push(Trial::test(name, move || as_the_twins(&device, &oracle, &config, least)));
        }
    }
    trials
}
