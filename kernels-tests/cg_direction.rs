//! Directions of conjugate gradients: conjugate to those before, and short numbers.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::cg_direction::CgDirection;
use minoise::kernels::cg_step::SCALARS;
use pollster::block_on;

use crate::cg_step::{SIZES, pairs};
use crate::harness::{Case, Output, case, guarded, input, numbers, output, random};

fn direction(device: &Device, size: [usize; 2], first: bool) -> Result<Vec<Output>> {
    let [rows, m] = size;
    let z: Vec<f32> = numbers(1, rows * m).into_iter().map(|x| x * 3e-5).collect();
    let z = input(device, &z, &size)?;
    let [y, x, r] = [2, 3, 4].map(|seed| pairs(device, seed, size));
    let (y, x, r) = (y?, x?, r?);
    let p = guarded(device, &numbers(5, rows * m), &size)?;
    let mut told = numbers(6, rows * SCALARS);
    told.chunks_mut(SCALARS).for_each(|s| s[1] = if first { 0.0 } else { 0.5 });
    let scalars = guarded(device, &told, &[rows, SCALARS])?;
    device.run(&CgDirection { z: &z, y: &y, x: &x, r: &r, p: &p, scalars: &scalars }.checked()?)?;
    let got: Vec<f64> = block_on(device.read(&p))?;
    assert!(got.iter().all(|p| (p * 512.0).fract() == 0.0 && p.abs() <= 512.0));
    // beta is a sum of m products, p a multiple of 2^-9 that may round to either side.
    let sums = (m + 8) as f64 * f64::from(f32::EPSILON);
    let of_p = vec![512.0 * 4.0 * sums + 1.01 / 512.0];
    let mut bound = vec![1e-300; rows * SCALARS];
    for row in bound.chunks_mut(SCALARS) {
        row[2..5].fill(sums * m as f64);
    }
    Ok(vec![output("p", p, of_p), output("scalars", scalars, bound)])
}

/// A row without residual: no direction.
fn nothing(device: &Device) -> Result<Vec<Output>> {
    let (z, y) = (device.zeros(&[1, 5])?, device.zeros(&[2, 1, 5])?);
    let (p, scalars) = (random(device, 1, &[1, 5])?, device.zeros(&[1, SCALARS])?);
    device.clear(&p)?;
    device.run(&CgDirection { z: &z, y: &y, x: &y, r: &y, p: &p, scalars: &scalars }.checked()?)?;
    Ok(vec![output("p", p, vec![1e-300])])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for size in SIZES {
        for first in [true, false] {
            let which = if first { "first" } else { "next" };
            all.push(case(format!("cg_direction {which} {size:?}"), move |d| direction(d, size, first)));
        }
    }
    all.push(case("cg_direction without residual".into(), nothing));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    let (p, y, scalars) = (device.reals(&[2, 3])?, device.reals(&[2, 2, 3])?, device.reals(&[2, SCALARS])?);
    device.run(&CgDirection { z: &p, y: &y, x: &y, r: &y, p: &p, scalars: &scalars })
}
