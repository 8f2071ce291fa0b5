//! Inner products, into one of several numbers; the others must stay.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::inner_product::InnerProduct;

use crate::harness::{Case, Output, case, guarded, input, numbers, output, wide};
use crate::square_sum::chain;

const EPS: f64 = f32::EPSILON as f64;

/// Around the lanes of a workgroup, a prime, many times the lanes, nothing.
const SIZES: [usize; 7] = [0, 1, 255, 256, 257, 10_007, 1 << 17];

fn product(device: &Device, n: usize, square: bool, accumulate: bool) -> Result<Vec<Output>> {
    // Positive, so that the sum is not small beside its terms.
    let positive = |seed| numbers(seed, n).into_iter().map(|x| x.abs() + 0.1).collect::<Vec<f32>>();
    let (x, y, mut before) = (positive(1), positive(if square { 1 } else { 2 }), numbers(3, 3));
    let terms: Vec<f64> = x.iter().zip(&y).map(|(x, y)| f64::from(*x) * f64::from(*y)).collect();
    let (factor, slot) = (-0.375, 1);
    let earlier = if accumulate { f64::from(before[slot]) } else { 0.0 };
    let total = factor * terms.iter().sum::<f64>();
    let size = factor.abs() * terms.iter().map(|term| term.abs()).sum::<f64>();
    let (mut naive, mut bound) = (wide(&before), vec![f64::MIN_POSITIVE; before.len()]);
    naive[slot] = earlier + total;
    // Every term rounds, then a sum of this depth, its product and the last sum.
    bound[slot] += EPS / 2.0 * ((chain(n) + 2.0) * size + (earlier + total).abs());
    if !accumulate {
        before[slot] = f32::NAN;
    }
    let (x, y) = (input(device, &x, &[n])?, input(device, &y, &[n])?);
    let out = guarded(device, &before, &[before.len()])?;
    let y = if square { &x } else { &y };
    device.run(&InnerProduct { x: &x, y, out: &out, slot, factor, accumulate })?;
    Ok(vec![output("out", out, bound).naive(|| naive)])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for n in SIZES {
        for (square, accumulate) in [(false, false), (false, true), (true, true)] {
            let name = format!(
                "inner_product of {n}{}{}",
                if square { " with itself" } else { "" },
                if accumulate { ", accumulated" } else { "" }
            );
            all.push(case(name, move |d| product(d, n, square, accumulate)));
        }
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    product(device, 257, false, true).map(drop)
}
