//! What the queue makes of dispatches: submissions that end soon, and profiles.

use std::time::Instant;

use libtest_mimic::{Failed, Trial};
use minoise::Result;
use minoise::device::{Device, DeviceClass, Dispatched, Options, Precision, Selector};
use minoise::kernels::add::Add;
use minoise::kernels::fma_chains::FmaChains;
use minoise::kernels::scale_columns::ScaleColumns;
use pollster::block_on;

/// The same device, opened for one test: others run beside it.
fn fresh(device: &Device) -> Result<Device> {
    if device.is_cpu() {
        return Ok(Device::cpu(Precision::F32));
    }
    let options = Options { saved: false, ..Options::default() };
    block_on(Device::open_with(&Selector::Named(device.name().into()), &options))
}

/// Small dispatches share a submission; large ones that together would take long do not.
fn submissions_end_soon(device: &Device) -> Result<(), Failed> {
    let device = &fresh(device)?;
    let (x, y) = (device.zeros(&[256])?, device.zeros(&[256])?);
    let count = |work: &dyn Fn() -> Result<()>, times: usize| -> Result<u64> {
        work()?;
        block_on(device.finish())?;
        let before = device.stats().submissions;
        (0..times).try_for_each(|_| work())?;
        block_on(device.finish())?;
        Ok(device.stats().submissions - before)
    };
    let small = count(&|| device.run(&Add { x: &x, y: &y }), 100)?;
    if small != 1 {
        return Err(format!("100 dispatches of one workgroup took {small} submissions").into());
    }
    let (x, y) = (device.zeros(&[1 << 10])?, device.zeros(&[1 << 10])?);
    let long = FmaChains { x: &x, y: &y, rounds: 10_000, factor: 0.5, term: 0.5 };
    let large = count(&|| device.run(&long), 8)?;
    if device.caps().class == DeviceClass::SoftwareGpu && large < 4 {
        return Err(format!("8 dispatches of 0.07 s each took {large} submissions").into());
    }
    Ok(())
}

/// The seconds of the kernels are no more than those of the clock, and not a small part of them; each is where it belongs.
fn profile_adds_up(device: &Device) -> Result<(), Failed> {
    let device = &fresh(device)?;
    const TIMES: usize = 40;
    let n = 1 << 18;
    let (x, y) = (device.zeros(&[n])?, device.zeros(&[n])?);
    let row = device.zeros(&[512])?;
    let (wide, scaled) = (x.reshape(&[n / 512, 512]), device.zeros(&[n / 512, 512])?);
    let work = || -> Result<()> {
        for _ in 0..TIMES {
            device.run(&Add { x: &x, y: &y })?;
            device.run(&ScaleColumns { x: &wide, scale: &row, y: &scaled })?;
        }
        Ok(())
    };
    work()?;
    block_on(device.finish())?;
    let start = Instant::now();
    let ((), profile) = block_on(device.profile(async {
        let _phase = device.phase("first");
        let block = device.part("block", Some(3));
        work()?;
        drop(block);
        device.run(&Add { x: &x, y: &y })
    }))?;
    let wall = start.elapsed().as_secs_f64();
    let of = |name: &str| profile.dispatches.iter().filter(|d| d.kernel == name).collect::<Vec<_>>();
    let (adds, scales) = (of("add"), of("scale_columns"));
    if [adds.len(), scales.len()] != [TIMES + 1, TIMES] || profile.dispatches.len() != 2 * TIMES + 1 {
        return Err(format!("{TIMES} dispatches of each kernel and one more were counted as {profile:?}").into());
    }
    let ordered = profile.dispatches.windows(2).all(|pair| pair[0].start <= pair[1].start);
    let sum: f64 = profile.dispatches.iter().map(|d| d.end - d.start).sum();
    let inside = |d: &Dispatched| 0.0 <= d.start && d.start < d.end && d.end <= 1.05 * profile.seconds;
    if !ordered || !profile.dispatches.iter().all(inside) || sum > 1.05 * wall || sum < 0.02 * wall {
        return Err(format!("{profile:?} within {wall} s").into());
    }
    let bytes = 4.0 * n as f64;
    let places: Vec<_> = adds.iter().map(|d| (d.phase, d.part.to_string(), d.read, d.written)).collect();
    let place = |part: &str| ("first", part.to_string(), bytes, bytes);
    if places[..TIMES].iter().any(|p| *p != place("block 3")) || places[TIMES] != place("") {
        return Err(format!("the parts of {places:?}").into());
    }
    let before = device.stats().submissions;
    work()?;
    block_on(device.finish())?;
    let ((), none) = block_on(device.profile(async { Ok(()) }))?;
    match none.dispatches.is_empty() && (device.is_cpu() || device.stats().submissions > before) {
        true => Ok(()),
        false => Err(format!("what ran before was profiled: {none:?}").into()),
    }
}

pub fn trials(devices: &[(String, Device)]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (label, device) in devices {
        let (d, one) = (device.clone(), device.clone());
        trials.push(Trial::test(format!("a profile adds up [{label}]"), move || profile_adds_up(&one)));
        if !device.is_cpu() {
            trials.push(Trial::test(format!("submissions end soon [{label}]"), move || submissions_end_soon(&d)));
        }
    }
    trials
}
