//! Numbers divided by roots, also by those of zeros and of numbers whose roots are raised.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::root_ratio::RootRatio;
use minoise::kernels::row_unit::LEAST;

use crate::harness::{Case, Output, case, input, numbers, output, poisoned};

const EPS: f64 = f32::EPSILON as f64;

/// Around the workgroup of 256 and a prime.
pub const SIZES: [usize; 7] = [0, 1, 3, 255, 256, 257, 10_007];

/// Squares of several sizes, the second zero, the fourth below that of the least root, and so on.
pub fn squares(n: usize) -> Vec<f32> {
    let size = |i: usize| [1.0f32, 0.0, 1e10, 1e-30, 1e-16][i % 5];
    numbers(2, n).into_iter().enumerate().map(|(i, x)| size(i) * (0.1 + x * x)).collect()
}

/// What a number is divided by.
pub fn root(s: f32) -> f64 {
    f64::from(s).sqrt().max(LEAST)
}

fn ratios(device: &Device, n: usize) -> Result<Vec<Output>> {
    let (x, s) = (numbers(1, n), squares(n));
    let naive: Vec<f64> = x.iter().zip(&s).map(|(x, s)| f64::from(*x) / root(*s)).collect();
    // A root and a quotient, of three units each, and the least root itself.
    let bound = naive.iter().map(|y| f64::MIN_POSITIVE + 7.0 * EPS * y.abs()).collect();
    let (x, s, y) = (input(device, &x, &[n])?, input(device, &s, &[n])?, poisoned(device, &[n])?);
    device.run(&RootRatio { x: &x, s: &s, y: &y })?;
    Ok(vec![output("y", y, bound).naive(|| naive)])
}

pub fn cases() -> Vec<Case> {
    SIZES.map(|n| case(format!("root_ratio {n}"), move |d| ratios(d, n))).into()
}

pub fn examples(device: &Device) -> Result<()> {
    ratios(device, 257).map(drop)
}
