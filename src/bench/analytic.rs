//! The analytic head: adding a batch of features to the Gram matrix, and solving for the classifier, over the number of
//! random features m.

use super::{Random, Work, near};
use crate::device::{Device, Precision, Tensor};
use crate::model::head::Statistics;
use crate::{Result, host};

/// Features of one batch.
pub const BATCH: usize = 1000;
/// Features and classes of a check, and what sums in pairs of f32 may differ by from float64's.
const CHECKED: (usize, usize) = (257, 10);
const BOUND: f64 = 1e-8;
/// Ridge.
pub const GAMMA: f64 = 100.0;

/// Features as ReLU gives them, and labels.
pub fn batch(m: usize, classes: usize, seed: usize) -> (Vec<f32>, Vec<u32>) {
    let mut random = Random::new();
    // Another part of the same stream for every batch.
    (0..seed).for_each(|_| drop(random.numbers(BATCH, 1.0)));
    let p = random.numbers(BATCH * m, 1.0).into_iter().map(|x| x.max(0.0)).collect();
    (p, (0..BATCH).map(|i| ((i * 7 + seed) % classes) as u32).collect())
}

/// Statistics of `classes` classes after two batches.
///
/// # Errors
/// Device errors.
pub fn gathered(device: &Device, m: usize, classes: usize) -> Result<Statistics> {
    let mut statistics = Statistics::new(device, m)?;
    statistics.widen(classes)?;
    for seed in 0..2 {
        let (p, labels) = batch(m, classes, seed);
        add(device, &mut statistics, &device.upload(&p, &[BATCH, m])?, &labels)?;
    }
    Ok(statistics)
}

/// Adds a batch.
///
/// # Errors
/// Device errors.
pub fn add(device: &Device, statistics: &mut Statistics, p: &Tensor, labels: &[u32]) -> Result<()> {
    host::wait(statistics.add(device, p, labels), "a sum of statistics")
}

/// Compares the sums of two batches with those of the f64 twins.
///
/// # Errors
/// [`crate::Error::Unsupported`] where they differ; device errors.
pub fn verify(device: &Device) -> Result<()> {
    let sums = |device: &Device| host::wait(gathered(device, CHECKED.0, CHECKED.1)?.export(), "a check of statistics");
    let (got, want) = (sums(device)?, sums(&Device::cpu(Precision::F64))?);
    near(BOUND, 0, &got.0, &want.0)?;
    near(BOUND, 1, &got.1, &want.1)
}

/// The classifier [classes, m]; what is solved has been checked by its residual.
///
/// # Errors
/// Device errors, and where the equations cannot be solved.
pub fn solve(device: &Device, statistics: &Statistics) -> Result<Tensor> {
    Ok(host::wait(statistics.solve(device, GAMMA, &mut |_| ()), "a solution")?.weights)
}

/// Operations and bytes of adding a batch.
pub fn adding(m: usize) -> Work {
    let square = (m * m) as f64;
    Work { flops: BATCH as f64 * square, bytes: 8.0 * square, images: BATCH }
}

/// Those of a solution.
pub fn solving(m: usize, classes: usize) -> Work {
    let (m, c) = (m as f64, classes as f64);
    Work { flops: m * m * (m / 3.0 + 2.0 * c), bytes: 8.0 * m * m, images: 0 }
}
