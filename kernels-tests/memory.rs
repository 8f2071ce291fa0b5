//! Out of memory is an error, after which the device goes on; and what the pool keeps is bounded.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use minoise::Error;
use minoise::device::{Device, DeviceClass, Options, Selector, Tensor};
use minoise::kernels::add::Add;
use pollster::block_on;

fn floats(device: &Device, kib: usize) -> Result<Tensor, Error> {
    device.reals(&[kib << 8])
}

fn still_computes(device: &Device) -> Result<(), Failed> {
    let (x, y) = (device.upload(&[1.0f32, 2.0], &[2])?, device.upload(&[10.0f32, 20.0], &[2])?);
    device.run(&Add { x: &x, y: &y })?;
    match block_on(device.read::<f32>(&y))?[..] {
        [11.0, 22.0] => Ok(()),
        ref other => Err(format!("10, 20 plus 1, 2 gave {other:?}").into()),
    }
}

/// A device of one MiB: what is free makes room for what is asked for, and what does not fit is refused.
fn ceiling(selector: &Selector) -> Result<(), Failed> {
    let device =
        block_on(Device::open_with(selector, &Options { memory: Some(1 << 20), saved: false, ..Options::default() }))?;
    let kept = floats(&device, 500)?;
    drop(floats(&device, 400)?);
    let fits = floats(&device, 450)?;
    if device.stats().pooled_bytes != 0 {
        return Err("the pool was not emptied for a tensor that needed its room".into());
    }
    let refused = floats(&device, 300);
    if !matches!(refused, Err(Error::OutOfMemory { .. })) {
        return Err(format!("300 KiB beside 950 of 1024 gave {refused:?}").into());
    }
    drop(fits);
    still_computes(&device)?;
    drop(kept);
    floats(&device, 900)?;
    Ok(())
}

/// Sizes that never come again: what stays free is no more than was once in use.
fn pool_is_bounded(selector: &Selector) -> Result<(), Failed> {
    let device = block_on(Device::open_with(selector, &Options { saved: false, ..Options::default() }))?;
    for kib in 1..200 {
        let x = floats(&device, kib)?;
        device.clear(&x)?;
    }
    let stats = device.stats();
    if stats.pooled_bytes > 200 << 10 {
        return Err(format!("{} bytes kept although 200 KiB were never in use at once", stats.pooled_bytes).into());
    }
    let again = floats(&device, 199)?;
    if device.stats().pooled_bytes + (199 << 10) > stats.pooled_bytes {
        return Err("the buffer freed last was not the one kept".into());
    }
    drop(again);
    still_computes(&device)
}

/// Tells the second process of [`driver_refuses`] that it is one.
const CHILD: &str = "MINOISE_TEST_CHILD";

/// Asks the driver itself for more than it has: in a process of its own, whose address space is small, so that the
/// machine's memory stays out of it.
fn driver_refuses(selector: &Selector, name: &str) -> Result<(), Failed> {
    if std::env::var_os(CHILD).is_some() {
        return until_refused(selector);
    }
    // Not `current_exe`: where a loader runs this program, it is the loader.
    let line = std::fs::read("/proc/self/cmdline")?;
    let words: Vec<_> = line.split(|&byte| byte == 0).filter(|word| !word.is_empty()).map(OsStr::from_bytes).collect();
    let program = &words[..words.len() + 1 - std::env::args_os().len()];
    let mut child = Command::new("sh");
    child.args(["-c", "ulimit -v 6000000 && exec \"$@\"", "sh"]).args(program).args(["--exact", name]).env(CHILD, "1");
    // What is reported is this program's run.
    child.env_remove("MINOISE_TEST_REPORT");
    let output = child.output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    match told.contains("1 passed") {
        true => Ok(()),
        false => Err(format!("{told}\n{}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

fn until_refused(selector: &Selector) -> Result<(), Failed> {
    let device = block_on(Device::open_with(selector, &Options { saved: false, ..Options::default() }))?;
    let mut held = Vec::new();
    while held.len() < 100 {
        match floats(&device, 64 << 10) {
            Ok(tensor) => held.push(tensor),
            Err(Error::OutOfMemory { .. }) => {
                // Neither staging nor the kernel's operands fit beside what is held.
                drop(held);
                return still_computes(&device);
            }
            Err(other) => return Err(other.into()),
        }
    }
    Err("6.4 GB fit into 6".into())
}

pub fn trials(devices: &[(String, Device)]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (label, device) in devices {
        let selector = if device.is_cpu() { Selector::Cpu } else { Selector::Named(device.name().into()) };
        let s = selector.clone();
        trials.push(Trial::test(format!("a ceiling of memory [{label}]"), move || ceiling(&s)));
        let s = selector.clone();
        trials.push(Trial::test(format!("a bounded pool [{label}]"), move || pool_is_bounded(&s)));
        let name = format!("a driver out of memory [{label}]");
        // The memory of real GPUs is not the process's.
        if device.caps().class == DeviceClass::SoftwareGpu {
            trials.push(Trial::test(name.clone(), move || driver_refuses(&selector, &name)));
        } else if !device.is_cpu() {
            trials.push(Trial::test(format!("{name}: not run"), || Ok(())).with_ignored_flag(true));
        }
    }
    trials
}
