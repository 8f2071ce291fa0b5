//! Measures and verifies every variant of the kernels that have several, on one adapter.

mod examples;
mod kernels;
mod layer;
mod problems;
mod subject;

use std::time::Duration;

pub use examples::{Example, Ready, examples};

use crate::device::{Captured, Choice, Device, Precision, Real, Tensor, Tuned};
use crate::roofline::{Roofline, fastest};
use crate::{Error, Result};

/// Each variant is measured over and over for this long.
const BUDGET: Duration = Duration::from_millis(150);
/// A variant must be so much faster than the one that runs without a table: less is noise.
const GAIN: f64 = 1.03;

/// One computation that can be run by several variants of a kernel.
trait Problem {
    /// The name of what it is a problem of.
    fn kernel(&self) -> &'static str;
    /// Operands on a device: the same numbers on every one.
    fn operands(&self, device: &Device) -> Result<Vec<Tensor>>;
    /// What the table says of it, and the ways to run it on `device`.
    fn tuning(&self, device: &Device, operands: &[Tensor]) -> Result<Tuning>;
    /// Multiplications and additions, and bytes of operands and results.
    fn work(&self, operands: &[Tensor]) -> Result<(f64, f64)>;
    /// One pass; `None`: the way that runs without a table.
    fn pass(&self, device: &Device, operands: &[Tensor], way: Option<&str>) -> Result<Vec<Tensor>>;
    /// Largest error of results that a way may have, relative to their largest entry.
    fn bound(&self, rounds: bool) -> f64;
}

/// A problem as tables name it.
struct Tuning {
    kernel: &'static str,
    /// What distinguishes it from others of its size.
    class: &'static str,
    size: Vec<usize>,
    ways: Vec<Way>,
}

struct Way {
    variant: String,
    /// Whether it runs without a table.
    default: bool,
    /// Whether it rounds operands more than their storage does: it is measured, never chosen.
    rounds: bool,
}

/// A variant, measured.
#[derive(Clone, Debug)]
pub struct Measured {
    pub variant: String,
    pub gflops: f64,
    /// Percent of the roofline.
    pub percent: f64,
    /// Largest error of a result against the f64 twins, relative to the largest entry.
    pub error: f64,
    /// What the error may be; a variant above is never chosen.
    pub bound: f64,
    /// Whether operands are rounded more than their storage does; no run asks for that, so it is never chosen.
    pub rounds: bool,
    /// Whether it runs without a table.
    pub default: bool,
    seconds: f64,
}

/// All variants of one problem, and what comes of them.
#[derive(Clone, Debug)]
pub struct Tried {
    pub choice: Choice,
    pub variants: Vec<Measured>,
}

/// One way to run a problem, as a device plans it.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The kernel whose variants are tried.
    pub kernel: &'static str,
    pub variant: String,
    /// Whether the device takes it for this problem.
    pub taken: bool,
    pub dispatches: Vec<Captured>,
}

/// Every way of every problem on a planner; of one problem the way that is taken comes first.
///
/// # Errors
/// What the planner's caps do not allow.
pub fn plans(planner: &Device) -> Result<Vec<Planned>> {
    let mut all = Vec::new();
    for problem in problems::all() {
        let operands = problem.operands(planner)?;
        let Tuning { kernel, mut ways, .. } = problem.tuning(planner, &operands)?;
        ways.sort_by_key(|way| !way.default);
        for Way { variant, default: taken, .. } in ways {
            let dispatches = planner.capture(|| problem.pass(planner, &operands, Some(&variant)).map(drop))?;
            all.push(Planned { kernel, variant, taken, dispatches });
        }
    }
    Ok(all)
}

/// Follows the measurements.
pub trait Listener {
    fn roofline(&mut self, roofline: &Roofline);
    fn tried(&mut self, tried: &Tried);
}

/// Measures all problems on `device`, which should be opened without a table.
///
/// # Errors
/// [`Error::Unsupported`] on the CPU device, which has one way to do each thing, and where no variant of a problem is
/// right; device errors.
pub async fn tune(device: &Device, watch: &mut dyn Listener) -> Result<Tuned> {
    if device.is_cpu() {
        return Err(Error::Unsupported(
            "the CPU device has no variants to choose from: name an adapter of `minoise info` with --device".into(),
        ));
    }
    let roofline = Roofline::measure(device).await?;
    watch.roofline(&roofline);
    let mut choices = Vec::new();
    for problem in problems::all() {
        let tried = measure(device, &roofline, &*problem).await?;
        watch.tried(&tried);
        choices.push(tried.choice);
        device.trim();
    }
    Ok(Tuned::new(choices).with_resident(roofline.resident))
}

async fn measure(device: &Device, roofline: &Roofline, problem: &dyn Problem) -> Result<Tried> {
    let oracle = Device::cpu(Precision::F64);
    let want = results::<f64>(&oracle, &problem.pass(&oracle, &problem.operands(&oracle)?, None)?).await?;
    let operands = problem.operands(device)?;
    let Tuning { kernel, class, size, ways } = problem.tuning(device, &operands)?;
    let (flops, bytes) = problem.work(&operands)?;
    let mut variants = Vec::new();
    for Way { variant, default, rounds } in ways {
        let pass = || problem.pass(device, &operands, Some(&variant));
        let error = error(&results::<f32>(device, &pass()?).await?, &want);
        let seconds = fastest(device, BUDGET, || pass().map(drop)).await?;
        variants.push(Measured {
            gflops: flops / seconds * 1e-9,
            percent: roofline.percent(flops, bytes, seconds),
            error,
            bound: problem.bound(rounds),
            rounds,
            default,
            seconds,
            variant,
        });
    }
    let variant = chosen(&variants)
        .ok_or_else(|| {
            let what = format!("{kernel} {class} {size:?}");
            Error::Unsupported(format!("every variant of {what} computes something else here: use --device cpu"))
        })?
        .variant
        .clone();
    Ok(Tried { choice: Choice { kernel: kernel.into(), class: class.into(), size, variant }, variants })
}

/// The fastest of those that are right and round nothing; the default where none is clearly faster.
fn chosen(variants: &[Measured]) -> Option<&Measured> {
    let right = || variants.iter().filter(|v| v.error <= v.bound && !v.rounds);
    let best = right().min_by(|a, b| a.seconds.total_cmp(&b.seconds))?;
    Some(right().find(|v| v.default && v.seconds < GAIN * best.seconds).unwrap_or(best))
}

async fn results<T: Real>(device: &Device, tensors: &[Tensor]) -> Result<Vec<Vec<T>>> {
    let mut all = Vec::new();
    for tensor in tensors {
        all.push(device.read(tensor).await?);
    }
    Ok(all)
}

/// Largest difference, relative to the largest entry of each result.
fn error(got: &[Vec<f32>], want: &[Vec<f64>]) -> f64 {
    let mut worst = 0.0f64;
    for (got, want) in got.iter().zip(want) {
        let top = want.iter().fold(f64::MIN_POSITIVE, |top, x| top.max(x.abs()));
        for (g, w) in got.iter().zip(want) {
            let error = (f64::from(*g) - w).abs() / top;
            worst = if error.is_nan() { f64::INFINITY } else { worst.max(error) };
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::algorithms::noise::NoiseLayer;
    use crate::device::Caps;

    fn measured(variant: &str, seconds: f64, error: f64, default: bool) -> Measured {
        let (gflops, percent, bound, rounds) = (0.0, 0.0, 1e-5, false);
        Measured { variant: variant.into(), gflops, percent, error, bound, rounds, default, seconds }
    }

    #[test]
    fn the_fastest_right_variant_is_chosen_and_the_default_where_little_is_gained() {
        let pick = |list: &[Measured]| chosen(list).map(|v| v.variant.clone());
        let default = measured("default", 1.0, 1e-6, true);
        assert_eq!(pick(&[measured("fast", 0.5, 1e-6, false), default.clone()]), Some("fast".into()));
        assert_eq!(pick(&[measured("wrong", 0.5, 1e-3, false), default.clone()]), Some("default".into()));
        let rounding = Measured { bound: 4e-3, rounds: true, ..measured("half", 0.1, 1e-3, false) };
        assert_eq!(pick(&[rounding, default.clone()]), Some("default".into()));
        assert_eq!(pick(&[measured("near", 0.98, 1e-6, false), default]), Some("default".into()));
        assert_eq!(pick(&[measured("wrong", 0.5, f64::INFINITY, true)]), None);
    }

    /// The names of all kernels that have variants, by their source: a table that does not know one cannot choose for it.
    #[test]
    fn every_kernel_with_variants_is_measured() {
        let planner = Device::planner(Caps::floor());
        let problems = problems::all();
        let tuning = |p: &dyn Problem| p.tuning(&planner, &p.operands(&planner).unwrap()).unwrap();
        let known: BTreeSet<_> = problems.iter().map(|p| tuning(&**p).kernel.to_string()).collect();
        let mut varied = BTreeSet::from([NoiseLayer::NAME.to_string()]);
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kernels")).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() && std::fs::read_to_string(&path).unwrap().contains("impl Varied for") {
                varied.insert(path.file_stem().unwrap().to_string_lossy().into_owned());
            }
        }
        varied.insert("gemm".into());
        assert_eq!(known, varied);
    }

    #[test]
    fn errors_are_relative_to_the_largest_entry_and_nan_is_the_worst() {
        assert_eq!(error(&[vec![1.0, 2.5]], &[vec![1.0, 2.0]]), 0.25);
        assert_eq!(error(&[vec![f32::NAN, 2.0, 2.0]], &[vec![1.0, 2.0, 2.0]]), f64::INFINITY);
    }
}
