//! Sum in place, up to more elements than one dimension of workgroups covers.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::add::Add;

use crate::harness::{Case, Output, case, guarded, numbers, output, random};

/// Around the workgroup of 256, a prime, and one more than 65,535 workgroups hold.
pub const SIZES: [usize; 7] = [1, 3, 255, 256, 257, 10_007, 65_535 * 256 + 1];

fn sum(device: &Device, n: usize) -> Result<Vec<Output>> {
    let x = random(device, 1, &[n])?;
    let y = guarded(device, &numbers(2, n), &[n])?;
    device.run(&Add { x: &x, y: &y })?;
    // One rounding of a number below 2.
    Ok(vec![output("y", y, vec![f64::from(f32::EPSILON)])])
}

pub fn cases() -> Vec<Case> {
    SIZES.map(|n| case(format!("add {n}"), move |d| sum(d, n))).into()
}

pub fn examples(device: &Device) -> Result<()> {
    sum(device, 257).map(drop)
}
