//! What the queue makes of dispatches: submissions that end soon, and seconds by kernel.

use std::time::Instant;

use libtest_mimic::{Failed, Trial};
use minoise::Result;
use minoise::device::{Device, DeviceClass, Options, Precision, Selector};
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

/// The seconds of the kernels are no more than those of the clock, and not a small part of them.
fn profile_adds_up(device: &Device) -> Result<(), Failed> {
    let device = &fresh(device)?;
    const TIMES: u64 = 40;
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
    let ((), profiled) = block_on(device.profile(async {
        work()?;
        device.finish().await
    }))?;
    let wall = start.elapsed().as_secs_f64();
    let counted: Vec<_> = profiled.iter().map(|p| (p.kernel, p.count)).collect();
    if counted.len() != 2 || !counted.contains(&("add", TIMES)) || !counted.contains(&("scale_columns", TIMES)) {
        return Err(format!("{TIMES} dispatches of each kernel were counted as {counted:?}").into());
    }
    let sum: f64 = profiled.iter().map(|p| p.seconds).sum();
    if profiled.iter().any(|p| p.seconds <= 0.0) || sum > 1.05 * wall || sum < 0.02 * wall {
        return Err(format!("{profiled:?} within {wall} s").into());
    }
    let before = device.stats().submissions;
    work()?;
    block_on(device.finish())?;
    let ((), none) = block_on(device.profile(async { Ok(()) }))?;
    match none.is_empty() && (device.is_cpu() || device.stats().submissions > before) {
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
