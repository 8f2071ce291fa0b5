//! The problems of the benches, and a loop that measures some of them in the time that there is. Passes are waited for, so
//! that all of it needs a host that can wait.

pub mod analytic;
pub mod attention;
pub mod gemm;
pub mod inference;
pub mod network;
pub mod noise;
mod questions;
mod sampling;
pub mod training;

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::device::{AdapterReport, Device, Precision, Tensor, checked};
use crate::roofline::Roofline;
use crate::{Error, Result, host};
use questions::Question;
pub use sampling::Spread;

/// What one pass does at least.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Multiplications and additions of its products.
    pub flops: f64,
    /// Operands and results, each moved once.
    pub bytes: f64,
    /// Images that go through, where they count.
    pub images: usize,
}

/// One pass of a problem, ready to be timed; its results.
type Pass = Box<dyn FnMut(&Device) -> Result<Vec<Tensor>>>;

/// Rounding errors of f32 sums of so many terms, relative to the largest entry: they grow like a random walk. Normals
/// and GELU agree to 4e-6 between devices.
pub fn rounding(terms: usize) -> f64 {
    1e-5 + 4.0 * f64::from(f32::EPSILON) * (terms as f64).sqrt()
}

/// Compares two ways to the same results.
///
/// # Errors
/// [`Error::Unsupported`] where they differ by more than `bound` times the largest entry of a result; device errors.
pub fn agree(bound: f64, got: (&Device, &[Tensor]), want: (&Device, &[Tensor])) -> Result<()> {
    let read = |device: &Device, tensor| host::wait::<Vec<f64>>(device.read(tensor), "a comparison of results");
    for (i, (a, b)) in got.1.iter().zip(want.1).enumerate() {
        near(bound, i, &read(got.0, a)?, &read(want.0, b)?)?;
    }
    Ok(())
}

/// A pass, once its results have been found to be those of one on the f64 twins; see [`agree`] for `bound`.
///
/// # Errors
/// [`agree`]'s.
pub fn verified<P: FnMut(&Device) -> Result<Vec<Tensor>>>(
    device: &Device,
    bound: f64,
    build: impl Fn(&Device) -> Result<P>,
) -> Result<P> {
    let (mut pass, oracle) = (build(device)?, Device::cpu(Precision::F64));
    agree(bound, (device, &pass(device)?), (&oracle, &build(&oracle)?(&oracle)?))?;
    Ok(pass)
}

/// Compares the numbers of result `i`, as [`agree`].
fn near(bound: f64, i: usize, got: &[f64], want: &[f64]) -> Result<()> {
    let top = want.iter().fold(0.0f64, |top, x| top.max(x.abs()));
    let near = |j: &usize| (got[*j] - want[*j]).abs() <= bound * top;
    match (0..want.len()).find(|j| !near(j)) {
        Some(j) => Err(Error::Unsupported(format!(
            "wrong result {i}[{j}]: {} for {}, largest entry {top}, bound {bound:e}",
            got[j], want[j]
        ))),
        None => Ok(()),
    }
}

/// Operands from a fixed seed, the same numbers on every device.
#[derive(Debug)]
pub struct Random(ChaCha8Rng);

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

impl Random {
    /// The beginning of the stream.
    pub fn new() -> Self {
        Self(ChaCha8Rng::seed_from_u64(7))
    }

    /// `n` numbers, uniform in +-scale.
    pub fn numbers(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| self.0.random_range(-scale..scale)).collect()
    }

    /// A tensor of such numbers.
    ///
    /// # Errors
    /// Device errors.
    pub fn tensor(&mut self, device: &Device, shape: &[usize], scale: f32) -> Result<Tensor> {
        device.upload(&self.numbers(shape.iter().product(), scale), shape)
    }
}

/// What was measured of one problem. Operations and bytes are those that the function needs, not those that a kernel spends.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub question: &'static str,
    pub shape: String,
    pub variant: String,
    /// Of one pass.
    pub seconds: Spread,
    pub gflops: f64,
    pub gbytes: f64,
    pub percent_of_roof: f64,
    /// Where images are what counts.
    pub images_per_second: Option<f64>,
}

/// How much longer the second way to the same results takes than the first, sample beside sample.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub question: &'static str,
    pub shape: String,
    pub variants: [String; 2],
    pub ratio: Spread,
}

/// A problem that has no figures, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    pub question: &'static str,
    pub shape: String,
    pub reason: String,
}

/// Everything that was measured on a device, as it is sent to others.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Of this crate.
    pub version: &'static str,
    pub device: String,
    /// Backend, driver and caps; nothing for the CPU device.
    pub adapter: Option<AdapterReport>,
    pub host: Host,
    pub settings: Settings,
    pub roofline: Roofline,
    pub figures: Vec<Figure>,
    pub comparisons: Vec<Comparison>,
    pub failures: Vec<Failure>,
    /// Compiled pipelines, and the seconds that they took.
    pub pipelines: usize,
    pub compile_seconds: f64,
    pub peak_device_bytes: u64,
}

/// The machine beside the device.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    pub system: &'static str,
    pub architecture: &'static str,
    pub threads: usize,
}

/// What figures depend on beside device and version.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Settings {
    /// Time for all samples together.
    pub seconds: f64,
    /// Whether shaders keep their bounds checks.
    pub checked: bool,
    /// Whether `minoise tune` chose the variants.
    pub tuned: bool,
    /// Whether the crate itself was built without optimisation.
    pub debug: bool,
}

/// Follows the measurements.
pub trait Listener {
    fn roofline(&mut self, roofline: &Roofline);
    fn figure(&mut self, figure: &Figure);
    fn failure(&mut self, failure: &Failure);
}

/// Asks every question on `device`, which `adapter` describes, with `budget` for all samples together. A problem that fails
/// does not end the others.
///
/// # Errors
/// Where not even the roofline can be measured.
pub async fn bench(
    device: &Device,
    adapter: Option<AdapterReport>,
    budget: Duration,
    watch: &mut dyn Listener,
) -> Result<Record> {
    let roofline = Roofline::measure(device).await?;
    watch.roofline(&roofline);
    let all = questions::all();
    let share = budget / all.len() as u32;
    let (mut figures, mut comparisons, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for question in all {
        let Question { question: name, shape, rows, compared, .. } = &question;
        let sampled = (question.prepare)(device).and_then(|passes| sampling::sample(device, passes, share));
        device.trim();
        let columns = match sampled {
            Ok(columns) => columns,
            Err(error) => {
                let failure = Failure { question: name, shape: shape.clone(), reason: error.to_string() };
                watch.failure(&failure);
                failures.push(failure);
                continue;
            }
        };
        for ((variant, work), column) in rows.iter().zip(&columns) {
            let seconds = Spread::of(column);
            let &Work { flops, bytes, images } = work;
            let figure = Figure {
                question: name,
                shape: shape.clone(),
                variant: variant.clone(),
                gflops: flops / seconds.median * 1e-9,
                gbytes: bytes / seconds.median * 1e-9,
                percent_of_roof: roofline.percent(flops, bytes, seconds.median),
                images_per_second: (images > 0).then(|| images as f64 / seconds.median),
                seconds,
            };
            watch.figure(&figure);
            figures.push(figure);
        }
        if let ([(first, _), (second, _)], [a, b], true) = (rows.as_slice(), columns.as_slice(), compared) {
            let ratios: Vec<_> = a.iter().zip(b).map(|(a, b)| b / a).collect();
            let variants = [first.clone(), second.clone()];
            comparisons.push(Comparison { question: name, shape: shape.clone(), variants, ratio: Spread::of(&ratios) });
        }
    }
    let stats = device.stats();
    Ok(Record {
        version: env!("CARGO_PKG_VERSION"),
        device: device.name().into(),
        adapter,
        host: Host { system: std::env::consts::OS, architecture: std::env::consts::ARCH, threads: host::cores() },
        settings: Settings {
            seconds: budget.as_secs_f64(),
            checked: checked(),
            tuned: !device.caps().tuned.is_empty(),
            debug: cfg!(debug_assertions),
        },
        roofline,
        figures,
        comparisons,
        failures,
        pipelines: stats.pipelines,
        compile_seconds: stats.compile_seconds,
        peak_device_bytes: stats.peak_bytes,
    })
}

impl Record {
    /// As JSON.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where a figure is no number.
    pub fn json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::Unsupported(e.to_string()))?;
        Ok(text + "\n")
    }
}
