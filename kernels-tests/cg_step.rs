//! Steps of conjugate gradients: pairs are compared as the sums that they stand for.

use minoise::Result;
use minoise::device::{Device, Tensor};
use minoise::kernels::cg_step::{CgStep, SCALARS};
use pollster::block_on;

use crate::harness::{Case, Output, case, guarded, input, numbers, output, poisoned, random, rms};

/// Rows and unknowns: around the workgroup of 256, several passes.
pub const SIZES: [[usize; 2]; 6] = [[1, 1], [3, 64], [2, 255], [5, 257], [2, 1031], [0, 7]];

/// A pair [2, rows, m] of numbers whose second parts are small.
pub fn pairs(device: &Device, seed: u64, [rows, m]: [usize; 2]) -> Result<Tensor> {
    let mut x = numbers(seed, 2 * rows * m);
    x[rows * m..].iter_mut().for_each(|x| *x *= 2e-8);
    guarded(device, &x, &[2, rows, m])
}

/// First and second parts together.
fn totals(device: &Device, x: &Tensor) -> Result<Vec<f64>> {
    let x: Vec<f64> = block_on(device.read(x))?;
    let (high, low) = x.split_at(x.len() / 2);
    Ok(high.iter().zip(low).map(|(a, b)| a + b).collect())
}

/// How far `x` and `r` are from `before + alpha change` with the alpha that the kernel tells.
fn step(device: &Device, size: [usize; 2]) -> Result<Vec<Output>> {
    let [rows, m] = size;
    let p = random(device, 1, &size)?;
    // p y is positive, but in the last of several rows.
    let mut y: Vec<f64> = block_on(device.read(&p))?;
    let sign = |row: usize| if row > 1 && row == rows - 1 { -1.0 } else { 1.5 };
    y.iter_mut().enumerate().for_each(|(i, y)| *y *= sign(i / m));
    y.extend(numbers(5, rows * m).into_iter().map(|x| f64::from(x) * 2e-8));
    let y = input(device, &y, &[2, rows, m])?;
    let (x, r) = (pairs(device, 2, size)?, pairs(device, 3, size)?);
    let z = poisoned(device, &size)?;
    let scalars = guarded(device, &numbers(4, rows * SCALARS), &[rows, SCALARS])?;
    let [p0, y0, x0, r0] = [block_on(device.read(&p))?, totals(device, &y)?, totals(device, &x)?, totals(device, &r)?];
    device.run(&CgStep { p: &p, y: &y, x: &x, r: &r, z: &z, scalars: &scalars })?;
    let told: Vec<f64> = block_on(device.read(&scalars))?;
    let (mut of_x, mut of_r) = (totals(device, &x)?, totals(device, &r)?);
    for i in 0..rows * m {
        let alpha = told[i / m * SCALARS];
        assert!(alpha != 0.0 || sign(i / m) < 0.0);
        of_x[i] -= x0[i] + alpha * p0[i];
        of_r[i] -= r0[i] - alpha * y0[i];
    }
    let before = rms(&r0);
    let exact = vec![16.0 * f64::powi(2.0, -46)];
    let sums = vec![(m + 8) as f64 * f64::from(f32::EPSILON) * 4.0];
    Ok(vec![
        output("error of x", device.upload(&of_x, &size)?, exact.clone()).differences_of(1.0),
        output("error of r", device.upload(&of_r, &size)?, exact).differences_of(1.0),
        output("scalars", scalars, sums.clone()),
        output("x", x, sums.clone()),
        // One unknown is found in one step, which leaves no residual.
        output("r", r, sums.clone()).differences_of(before),
        output("z", z, sums).differences_of(before),
    ])
}

pub fn cases() -> Vec<Case> {
    SIZES.map(|size| case(format!("cg_step {size:?}"), move |d| step(d, size))).into()
}

pub fn examples(device: &Device) -> Result<()> {
    let [p, z] = [(); 2].map(|()| device.reals(&[2, 3]));
    let [y, x, r] = [(); 3].map(|()| device.reals(&[2, 2, 3]));
    device.run(&CgStep { p: &p?, y: &y?, x: &x?, r: &r?, z: &z?, scalars: &device.reals(&[2, SCALARS])? })
}
