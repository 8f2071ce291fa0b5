//! A short run on every device: the same seed on the same device gives the same numbers, another device the same
//! predictions for 99 % of the test images.

use libtest_mimic::{Failed, Trial};
use minoise::Error;
use minoise::config::Config;
use minoise::data::{Dataset, Images};
use minoise::device::{Device, Precision, Selector};
use minoise::protocol::{self, Metrics, Watch};
use minoise::report::Results;

struct Silent;

impl Watch for Silent {
    fn task(&mut self, _: &Metrics, _: f64) {}
}

/// The icons of the first ten classes.
fn ten_classes() -> Result<Dataset, Failed> {
    let all = minoise::data::icons()?;
    let keep = |images: &Images| {
        let idx: Vec<usize> = (0..images.len()).filter(|&i| images.labels[i] < 10).collect();
        let (pixels, labels) = images.gather(&idx);
        Images { pixels, labels, ..*images }
    };
    Ok(Dataset { train: keep(&all.train), test: keep(&all.test), classes: all.classes[..10].to_vec(), name: all.name })
}

fn run(device: &Device, profile: &str) -> Result<Results, Failed> {
    let sets = ["init_classes=5", "increment=5", "epochs=2", "buffer_size=260", "fit_batch=100"];
    let mut sets: Vec<String> = sets.map(String::from).to_vec();
    sets.push(format!("profile={profile}"));
    let config = Config::load(None, None, &sets)?;
    Ok(pollster::block_on(protocol::run(&config, device, &ten_classes()?, &mut Silent))?)
}

fn repeats_and_agrees(device: &Device, profile: &str) -> Result<(), Failed> {
    let (a, b) = (run(device, profile)?, run(device, profile)?);
    if a.confusion != b.confusion || a.accuracy != b.accuracy {
        return Err("two runs of one seed differ".into());
    }
    let cpu = run(&Device::cpu(Precision::F32), profile)?;
    let pairs = a.confusion.iter().flatten().zip(cpu.confusion.iter().flatten());
    // An image that moves leaves one cell and enters another.
    let moved = pairs.map(|(x, y)| x.abs_diff(*y)).sum::<u64>() as f64 / 2.0;
    let images: u64 = cpu.confusion.iter().flatten().sum();
    if moved > 0.01 * images as f64 {
        return Err(format!("{moved} of {images} predictions differ from those of the CPU device").into());
    }
    if a.a_last < 0.8 {
        return Err(format!("A_last is {}, ten classes of icons are easier than that", a.a_last).into());
    }
    Ok(())
}

/// A destroyed device stands for one that was lost: an error, no panic, and no work after it.
fn loss_is_an_error(name: &str) -> Result<(), Failed> {
    let device = Device::open(&Selector::Named(name.into()))?;
    let tensor = device.upload(&[1.0f32, 2.0], &[2])?;
    if pollster::block_on(device.read::<f32>(&tensor))? != [1.0, 2.0] {
        return Err("a healthy device reads what was written".into());
    }
    device.destroy();
    let first = pollster::block_on(device.read::<f32>(&tensor));
    let after = device.clear(&tensor);
    match (&first, &after) {
        (Err(Error::DeviceLost { .. }), Err(Error::DeviceLost { .. })) => Ok(()),
        _ => Err(format!("read gave {first:?}, further work {after:?}").into()),
    }
}

pub fn trials(devices: &[(String, Device)]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (label, device) in devices {
        for profile in ["paper", "official"] {
            let device = device.clone();
            let name = format!("run of two tasks, profile {profile} [{label}]");
            trials.push(Trial::test(name, move || repeats_and_agrees(&device, profile)));
        }
    }
    let gpus: Vec<_> = devices.iter().filter(|d| !d.1.is_cpu()).collect();
    if gpus.is_empty() {
        let name = "lost device [no GPU adapter: not run]";
        trials.push(Trial::test(name, || Ok(())).with_ignored_flag(true));
    }
    for (label, device) in gpus {
        let name = device.name().to_string();
        trials.push(Trial::test(format!("lost device [{label}]"), move || loss_is_an_error(&name)));
    }
    trials
}
