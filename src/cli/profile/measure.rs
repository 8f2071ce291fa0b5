//! Steps, each once without profiling and once with it, so that the machine's own changes meet both.

use std::time::Instant;

use pollster::block_on;

use super::gather::{Seen, Steps};
use crate::Result;
use crate::cli::progress::{Bars, Progress};
use crate::config::Config;
use crate::data::Dataset;
use crate::device::Device;
use crate::protocol::{self, Excerpt, Excerpted};
use crate::tune::Example;

/// Seconds of some work, until the device is done with it.
fn seconds(device: &Device, work: impl Future<Output = Result<()>>) -> Result<f64> {
    block_on(device.finish())?;
    let start = Instant::now();
    block_on(async {
        work.await?;
        device.finish().await
    })?;
    Ok(start.elapsed().as_secs_f64())
}

/// A part of a run, so many times; how many images go through it.
pub(super) fn excerpt(
    on: (&Config, &Device, &Dataset),
    what: Excerpt,
    steps: usize,
    capture: bool,
) -> Result<(Steps, usize)> {
    let device = on.1;
    if capture && device.is_cpu() {
        // Refused before the tasks are learned.
        block_on(device.debugged(async { Ok(()) }))?;
    }
    let mut part = block_on(Excerpted::new(on, what, 2 * steps + usize::from(capture), &mut Bars::of_passes()))?;
    if capture {
        block_on(part.ready())?;
        block_on(device.debugged(async { device.profile(part.go()).await.map(drop) }))?;
    }
    let mut all = Steps::new(device);
    let bar = Progress::new().bar("steps", steps as u64);
    for _ in 0..steps {
        block_on(part.ready())?;
        all.plain.push(seconds(device, part.go())?);
        block_on(part.ready())?;
        let ((), profile) = block_on(device.profile(part.go()))?;
        all.steps.push(vec![Seen { name: None, profile }]);
        bar.inc(1);
    }
    drop(bar);
    all.compiled(device);
    Ok((all, part.images()))
}

/// All problems of a kernel, so many times; a capture is of the first one.
pub(super) fn kernel(device: &Device, examples: Vec<Example>, steps: usize, mut capture: bool) -> Result<Steps> {
    let mut all = Steps::new(device);
    (all.plain, all.steps) = (vec![0.0; steps], (0..steps).map(|_| Vec::new()).collect());
    let bar = Progress::new().bar("problems", examples.len() as u64);
    for example in examples {
        let ready = example.ready(device)?;
        let pass = async || ready.run(device);
        // Compiles, and brings the operands.
        seconds(device, pass())?;
        if std::mem::take(&mut capture) {
            block_on(device.debugged(async { device.profile(pass()).await.map(drop) }))?;
        }
        for (plain, step) in all.plain.iter_mut().zip(&mut all.steps) {
            *plain += seconds(device, pass())?;
            let ((), profile) = block_on(device.profile(pass()))?;
            step.push(Seen { name: Some(ready.name.clone()), profile });
        }
        drop(ready);
        device.trim();
        bar.inc(1);
    }
    all.compiled(device);
    Ok(all)
}

/// A whole run, as one step.
pub(super) fn run(config: &Config, device: &Device, dataset: &Dataset) -> Result<Steps> {
    let mut all = Steps::new(device);
    let mut bars = Bars::of_passes();
    let (_, profile) = block_on(device.profile(protocol::run(config, device, dataset, &mut bars)))?;
    all.steps.push(vec![Seen { name: None, profile }]);
    all.compiled(device);
    Ok(all)
}
