//! A short run on every device: the same seed on the same device gives the same numbers, another device the same
//! predictions for 99 % of the test images.

use libtest_mimic::{Failed, Trial};
use minoise::Error;
use minoise::config::Config;
use minoise::data::{Dataset, Images};
use minoise::device::{Device, Precision, Selector};
use minoise::protocol::{self, Metrics, Progress, Session, Watch};
use minoise::report::Results;
use pollster::block_on;

/// Keeps the predictions after every task.
#[derive(Default)]
struct Predictions(Vec<Vec<u32>>);

impl Watch for Predictions {
    fn task(&mut self, _: &Metrics, predicted: &[u32], _: f64) {
        self.0.push(predicted.to_vec());
    }
}

/// Settings that take other kernels.
const EVERYWHERE: [&[&str]; 3] =
    [&["profile=paper"], &["profile=official"], &["f16_weights=true", "fused_noise=false", "eval_noise=sample"]];

/// Settings that take the same kernels in another order.
const ABLATION: [&[&str]; 6] = [
    &["noise=false"],
    &["mixture=sum", "pipeline=two_step"],
    &["mixture=similarity", "pipeline=two_step"],
    &["refit=accumulate", "grad_through_analytic=false"],
    &["phi_layers=1"],
    &["optimizer=adamw", "lr=0.001"],
];

/// Settings whose states differ.
const RESUMED: [&[&str]; 4] = [
    &["profile=paper"],
    &["profile=official"],
    // In parts, with blocks that are computed once more.
    &["memory_mib=9", "buffer_size=512"],
    &["refit=accumulate", "optimizer=adamw", "lr=0.001", "eval_noise=sample", "gamma=auto"],
];

/// Training and test images of a class, to be learned well; checked shaders are slow on software devices.
const LEARNED: [usize; 2] = [8, 10];
/// Those of a run that is only to have the same bits again.
const REPEATED: [usize; 2] = [4, 4];

/// A few icons of the first ten classes.
fn ten_classes([train, test]: [usize; 2]) -> Result<Dataset, Failed> {
    let all = minoise::data::icons()?;
    let keep = |images: &Images, most: usize| {
        let mut left = [most; 10];
        let mut wanted = |label: u32| match left.get_mut(label as usize) {
            Some(n) if *n > 0 => {
                *n -= 1;
                true
            }
            _ => false,
        };
        let idx: Vec<usize> = (0..images.len()).filter(|&i| wanted(images.labels[i])).collect();
        images.pick(&idx)
    };
    Ok(Dataset {
        train: keep(&all.train, train),
        test: keep(&all.test, test),
        classes: all.classes[..10].to_vec(),
        ..all
    })
}

fn settings(more: &[&str]) -> Result<Config, Failed> {
    let epochs: &[&str] = if more.contains(&"noise=false") { &[] } else { &["epochs=2"] };
    let sets = ["init_classes=5", "increment=5", "buffer_size=260", "fit_batch=50"];
    let sets: Vec<String> = sets.iter().chain(epochs).chain(more).map(|s| s.to_string()).collect();
    Ok(Config::load(None, None, &sets)?)
}

/// Saved and taken up again in the midst of every part, a run ends with the bits of one that was left alone.
fn resumes(device: &Device, more: &[&str]) -> Result<(), Failed> {
    let (config, dataset) = (settings(more)?, ten_classes(REPEATED)?);
    let [whole, parts] = [tempfile::tempdir()?, tempfile::tempdir()?];
    let mut watch = Predictions::default();
    let mut alone = Session::new(&config, device, &dataset)?;
    while block_on(alone.step(&mut watch))? != Progress::Done {}
    block_on(alone.save(whole.path()))?;
    let mut again = Predictions::default();
    let mut session = Session::new(&config, device, &dataset)?;
    let mut steps = 0;
    while block_on(session.step(&mut again))? != Progress::Done {
        steps += 1;
        if steps % 5 == 0 || steps < 5 {
            block_on(session.save(parts.path()))?;
            session = block_on(Session::resume(parts.path(), device, &dataset))?;
        }
    }
    block_on(session.save(parts.path()))?;
    if watch.0 != again.0 {
        return Err("the predictions differ".into());
    }
    let (a, b) = (alone.results().measured, session.results().measured);
    if (&a.metrics, &a.gamma, &a.residual) != (&b.metrics, &b.gamma, &b.residual) {
        return Err(format!("{a:?}\nis not\n{b:?}").into());
    }
    let model = |dir: &tempfile::TempDir| std::fs::read(dir.path().join("model.safetensors"));
    if model(&whole)? != model(&parts)? {
        return Err("the models differ".into());
    }
    Ok(())
}

fn run(device: &Device, more: &[&str]) -> Result<(Results, Predictions), Failed> {
    let config = settings(more)?;
    let mut watch = Predictions::default();
    let results = block_on(protocol::run(&config, device, &ten_classes(LEARNED)?, &mut watch))?;
    Ok((results, watch))
}

fn repeats_and_agrees(device: &Device, more: &[&str]) -> Result<(), Failed> {
    let ((a, first), (_, second)) = (run(device, more)?, run(device, more)?);
    if first.0 != second.0 {
        return Err("two runs of one seed differ".into());
    }
    let (_, other) = run(&Device::cpu(Precision::F64), more)?;
    for (task, (x, y)) in first.0.iter().zip(&other.0).enumerate() {
        let moved = x.iter().zip(y).filter(|(x, y)| x != y).count();
        if x.len() != y.len() || moved as f64 > 0.01 * x.len() as f64 {
            return Err(format!("task {task}: {moved} of {} predictions differ from the f64 device's", x.len()).into());
        }
    }
    if a.measured.metrics.a_last < 0.8 {
        return Err(
            format!("A_last is {}, ten classes of icons are easier than that", a.measured.metrics.a_last).into()
        );
    }
    Ok(())
}

/// A destroyed device stands for one that was lost: an error, no panic, and no work after it.
fn loss_is_an_error(name: &str) -> Result<(), Failed> {
    let device = block_on(Device::open(&Selector::Named(name.into())))?;
    let tensor = device.upload(&[1.0f32, 2.0], &[2])?;
    if block_on(device.read::<f32>(&tensor))? != [1.0, 2.0] {
        return Err("a healthy device reads what was written".into());
    }
    device.destroy();
    let first = block_on(device.read::<f32>(&tensor));
    let after = device.clear(&tensor);
    match (&first, &after) {
        (Err(Error::DeviceLost { .. }), Err(Error::DeviceLost { .. })) => Ok(()),
        _ => Err(format!("read gave {first:?}, further work {after:?}").into()),
    }
}

/// Threads that share a device collect each other's finished work at back-pressure; every read still gets its answer.
fn threads_share(device: &Device) -> Result<(), Failed> {
    let reader = |thread: u32| -> Result<bool, Error> {
        let mut right = true;
        for round in 0..100u32 {
            let tensor = device.upload_u32(&[thread, round], &[2])?;
            device.flush()?;
            right &= block_on(device.read_u32(&tensor))? == [thread, round];
        }
        Ok(right)
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8).map(|thread| scope.spawn(move || reader(thread))).collect();
        for reader in readers {
            if !reader.join().map_err(|_| "a reader panicked")?? {
                return Err("a thread read what it had not written".into());
            }
        }
        Ok(())
    })
}

pub fn trials(devices: &[(String, Device)]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (label, device) in devices {
        for settings in EVERYWHERE {
            let device = device.clone();
            let name = format!("run of two tasks, {} [{label}]", settings.join(", "));
            trials.push(Trial::test(name, move || repeats_and_agrees(&device, settings)));
        }
        for settings in RESUMED {
            let device = device.clone();
            let name = format!("run of two tasks, resumed, {} [{label}]", settings.join(", "));
            trials.push(Trial::test(name, move || resumes(&device, settings)));
        }
        let device = device.clone();
        trials.push(Trial::test(format!("reads of eight threads [{label}]"), move || threads_share(&device)));
    }
    for settings in ABLATION {
        let name = format!("run of two tasks, {} [cpu]", settings.join(", "));
        trials.push(Trial::test(name, || repeats_and_agrees(&Device::cpu(Precision::F32), settings)));
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
