//! What a device reaches at best, measured by two micro-kernels: the roof under which every other kernel is judged.
//!
//! Source: Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model" (2009).

use std::time::Duration;

use serde::Serialize;

use crate::device::{Device, DeviceClass, Kernel, Twin};
use crate::kernels::fma_chains::FmaChains;
use crate::kernels::stream_copy::StreamCopy;
use crate::{Error, Result};

/// Rounds of one dispatch of the chains.
const ROUNDS: usize = 64;
/// Elements of a single workgroup.
const ALONE: usize = 4 * 256;
/// Bytes that the copy reads, and writes as many, where one binding may hold them: far beyond any cache.
const COPY_BYTES: u64 = 256 << 20;
/// A measurement takes at least this long, so that neither the clock nor a submission counts, and not much longer, so
/// that some find the machine idle.
const LONG: Duration = Duration::from_millis(5);
/// Each micro-kernel is measured over and over for this long; the fastest measurement counts.
const BUDGET: Duration = Duration::from_secs(1);

/// Peak rates of one device in f32 (f64 on a CPU device of that precision).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Roofline {
    /// Multiplications and additions in registers, 10^9 a second.
    pub gflops: f64,
    /// Bytes read plus bytes written by a copy between buffers larger than the caches, 10^9 a second.
    pub gbytes: f64,
    /// Workgroups of 256 threads that the device runs at once at full speed: its peak by that of one alone.
    pub resident: usize,
}

impl std::fmt::Display for Roofline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "roofline {:.1} GFLOP/s in registers, {:.1} GB/s read and written by a copy, {} workgroups at once",
            self.gflops, self.gbytes, self.resident
        )
    }
}

impl Roofline {
    /// Runs both micro-kernels for a second each, and the first for another second in one workgroup; checks their results.
    ///
    /// # Errors
    /// Device errors, and [`Error::Unsupported`] where the device computed something else.
    pub async fn measure(device: &Device) -> Result<Self> {
        // Four waves of the largest GPU known, a quarter of a million threads of four elements each; enough for all cores.
        let n = if device.caps().class == DeviceClass::Gpu { 1 << 22 } else { 1 << 18 };
        let (peak, alone) = (fma_rate(device, n).await?, fma_rate(device, ALONE).await?);
        let resident = ((peak / alone).round() as usize).max(1);
        Ok(Self { gflops: peak * 1e-9, gbytes: copy_rate(device).await? * 1e-9, resident })
    }

    /// Least seconds for `flops` operations on `bytes` bytes of memory: `max(flops / gflops, bytes / gbytes) / 10^9`.
    pub fn seconds(&self, flops: f64, bytes: f64) -> f64 {
        (flops / self.gflops).max(bytes / self.gbytes) * 1e-9
    }

    /// Percent of the roof that a measured time reached: above 100 only where the data stay in a cache.
    pub fn percent(&self, flops: f64, bytes: f64, seconds: f64) -> f64 {
        100.0 * self.seconds(flops, bytes) / seconds
    }
}

/// Operations a second on `n` elements.
async fn fma_rate(device: &Device, n: usize) -> Result<f64> {
    let start: Vec<f32> = (0..n).map(|i| i as f32 / n as f32).collect();
    let (x, y) = (device.upload(&start, &[n])?, device.reals(&[n])?);
    // The chains approach 1 by the factor e within one dispatch: a step left out or a constant folded would show.
    let steps = (ROUNDS * FmaChains::ROUND) as f32;
    let chains = FmaChains { x: &x, y: &y, rounds: ROUNDS, factor: 1.0 - 1.0 / steps, term: 1.0 / steps };
    let rate = chains.flops() / dispatch(device, &chains).await?;
    let decay = f64::from(chains.factor).powi(steps as i32);
    let want = start.iter().map(|&x| 2.0 + (2.0 * f64::from(x) - 1.0) * decay);
    check(FmaChains::NAME, want, &device.read(&y).await?, 1e-3)?;
    Ok(rate)
}

/// Bytes a second.
async fn copy_rate(device: &Device) -> Result<f64> {
    let n = (COPY_BYTES.min(device.caps().max_binding).min(device.caps().max_buffer) / 16 * 4) as usize;
    let start: Vec<f32> = (0..n).map(|i| (i % 65_521) as f32).collect();
    let (x, y) = (device.upload(&start, &[n])?, device.zeros(&[n])?);
    let copy = StreamCopy { x: &x, y: &y };
    let rate = 8.0 * n as f64 / dispatch(device, &copy).await?;
    check(StreamCopy::NAME, start.into_iter().map(f64::from), &device.read(&y).await?, 0.0)?;
    Ok(rate)
}

/// Seconds of one dispatch; one that is not measured comes before, so that pipelines are compiled and memory is touched.
async fn dispatch(device: &Device, kernel: &impl Twin) -> Result<f64> {
    device.run(kernel)?;
    device.finish().await?;
    fastest(device, BUDGET, || device.run(kernel)).await
}

/// Seconds of one pass in the fastest of the measurements that `budget` allows, at least one; the first ones find how
/// many passes are long.
pub(crate) async fn fastest(device: &Device, budget: Duration, mut pass: impl FnMut() -> Result<()>) -> Result<f64> {
    let (mut runs, mut best, mut spent) = (1, f64::INFINITY, Duration::ZERO);
    while spent < budget {
        let start = crate::host::Instant::now();
        for _ in 0..runs {
            pass()?;
        }
        device.finish().await?;
        let taken = start.elapsed();
        spent += taken;
        best = best.min(taken.as_secs_f64() / f64::from(runs));
        if taken < LONG {
            runs *= 2;
        }
    }
    Ok(best)
}

/// A peak counts only where the work was done.
fn check(name: &str, want: impl Iterator<Item = f64>, got: &[f32], tolerance: f64) -> Result<()> {
    for (i, (want, got)) in want.zip(got).enumerate() {
        let error = (f64::from(*got) - want).abs();
        if error > tolerance || error.is_nan() {
            return Err(Error::Unsupported(format!("no roofline: kernel `{name}` gave {got} at {i}, not {want}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Roofline;

    #[test]
    fn the_slower_of_arithmetic_and_memory_decides() {
        let roofline = Roofline { gflops: 100.0, gbytes: 10.0, resident: 1 };
        assert_eq!(roofline.seconds(1e9, 1e9), 0.1);
        assert_eq!(roofline.seconds(1e11, 1e9), 1.0);
        assert_eq!(roofline.percent(1e11, 1e9, 4.0), 25.0);
    }
}
