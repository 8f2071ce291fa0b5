//! Directions of conjugate gradients: conjugate to those before, and short numbers.

use minoise::Result;
use minoise::device::{Device, Tensor};
use minoise::kernels::cg_direction::CgDirection;
use minoise::kernels::cg_step::SCALARS;
use pollster::block_on;

use crate::cg_step::{SIZES, pairs};
use crate::harness::{Case, Output, case, growth, guarded, input, numbers, output, wide};

const EPS: f64 = f32::EPSILON as f64;

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
    let host = |x: &Tensor| -> Result<Vec<f64>> { block_on(device.read(x)) };
    let [zs, ys, xs, rs, ps] = [host(&z)?, host(&y)?, host(&x)?, host(&r)?, host(&p)?];
    device.run(&CgDirection { z: &z, y: &y, x: &x, r: &r, p: &p, scalars: &scalars })?;
    let got: Vec<f64> = block_on(device.read(&p))?;
    assert!(got.iter().all(|p| (p * 512.0).fract() == 0.0 && p.abs() <= 512.0));
    let (mut naive_p, mut bound_p) = (Vec::new(), Vec::new());
    let (mut naive, mut bound) = (wide(&told), vec![f64::MIN_POSITIVE; rows * SCALARS]);
    let sum_error = (growth(m) + 2.0) * EPS / 2.0;
    for row in 0..rows {
        let own = |x: &[f64]| x[row * m..(row + 1) * m].to_vec();
        let [z, y, x, r, p] = [&zs, &ys, &xs, &rs, &ps].map(|x| own(x));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let size = z.iter().zip(&y).map(|(z, y)| (z * y).abs()).sum::<f64>();
        let (beta, beta_error) = if first { (0.0, 0.0) } else { (-2.0 * dot(&z, &y), 2.0 * sum_error * size) };
        let t: Vec<_> = z.iter().zip(&p).map(|(z, p)| z + beta * p).collect();
        let largest = t.iter().fold(0.0, |x: f64, t| x.max(t.abs()));
        // The power of two that brings the largest just below 512; f32 has none above 2^119 here.
        let unit = f64::powi(2.0, (8 - largest.log2().floor() as i32).min(119));
        for ((t, z), p) in t.iter().zip(&z).zip(&p) {
            naive_p.push((t * unit * 512.0).round_ties_even() / 512.0);
            // p is a multiple of 2^-9 that may round to either side.
            let error = p.abs() * beta_error + 1.5 * EPS * (z.abs() + (beta * p).abs());
            bound_p.push(unit * error + 1.01 / 512.0);
        }
        for (i, value) in [dot(&r, &r), dot(&z, &z), dot(&x, &x)].into_iter().enumerate() {
            naive[row * SCALARS + 2 + i] = value;
            bound[row * SCALARS + 2 + i] = sum_error * value;
        }
        naive[row * SCALARS + 5] = unit;
    }
    Ok(vec![output("p", p, bound_p).naive(|| naive_p), output("scalars", scalars, bound).naive(|| naive)])
}

/// A row without residual: no direction.
fn nothing(device: &Device) -> Result<Vec<Output>> {
    let (z, y) = (device.zeros(&[1, 5])?, device.zeros(&[2, 1, 5])?);
    let (p, scalars) = (guarded(device, &[0.0; 5], &[1, 5])?, device.zeros(&[1, SCALARS])?);
    device.run(&CgDirection { z: &z, y: &y, x: &y, r: &y, p: &p, scalars: &scalars })?;
    Ok(vec![output("p", p, vec![f64::MIN_POSITIVE])])
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
    device.run(&CgDirection { z: &device.reals(&[2, 3])?, y: &y, x: &y, r: &y, p: &p, scalars: &scalars })
}
