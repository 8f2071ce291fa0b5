//! The default runs of both profiles on a few classes, beside the f64 twins: the program's whole way on a device.

use libtest_mimic::{Failed, Trial};
use minoise::Result;
use minoise::config::{Config, Profile};
use minoise::data::{Dataset, Images, icons};
use minoise::device::Device;
use minoise::protocol::{Metrics, Watch, run};
use pollster::block_on;

const CLASSES: u32 = 4;
/// Of so many images one is taken: checked shaders are slow on software devices.
const EVERY: usize = 2;
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

/// Accuracy over all tasks and what was predicted.
fn learned(device: &Device, profile: Profile) -> Result<(f64, Vec<u32>)> {
    let defaults = Config::of(profile);
    let config = Config { init_classes: 2, increment: 2, epochs: 1, init_epochs: 1, ..defaults };
    let mut predictions = Predictions::default();
    let results = block_on(run(&config, device, &dataset()?, &mut predictions))?;
    Ok((results.measured.metrics.a_avg, predictions.0))
}

fn as_the_twins(device: &Device, oracle: &Device, profile: Profile) -> Result<(), Failed> {
    let (got, want) = (learned(device, profile)?, learned(oracle, profile)?);
    let differ = got.1.iter().zip(&want.1).filter(|(a, b)| a != b).count();
    if got.1.len() != want.1.len() || differ as f64 > DOUBTFUL * want.1.len() as f64 {
        return Err(format!("{differ} of {} predictions differ from the {} twins'", got.1.len(), want.1.len()).into());
    }
    // By chance a half, then a quarter.
    if got.0 < 0.8 {
        return Err(format!("accuracy {:.3} in the mean over the tasks", got.0).into());
    }
    Ok(())
}

pub fn trials(devices: &[(String, Device)], oracle: &Device) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (label, device) in devices {
        for profile in [Profile::Paper, Profile::Official] {
            let (device, oracle) = (device.clone(), oracle.clone());
            let name = format!("short run of {} [{label}]", format!("{profile:?}").to_lowercase());
            trials.push(Trial::test(name, move || as_the_twins(&device, &oracle, profile)));
        }
    }
    trials
}
