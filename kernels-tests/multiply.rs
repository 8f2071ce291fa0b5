//! Products element by element, of two tensors and of one with itself.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::multiply::Multiply;

use crate::add::SIZES;
use crate::harness::{Case, Output, case, guarded, input, numbers, output, poisoned, wide};

const EPS: f64 = f32::EPSILON as f64;

fn products(device: &Device, n: usize, square: bool, accumulate: bool) -> Result<Vec<Output>> {
    let (a, b, before) = (numbers(1, n), numbers(if square { 1 } else { 2 }, n), numbers(3, n));
    let mut naive: Vec<f64> = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).collect();
    if accumulate {
        naive.iter_mut().zip(wide(&before)).for_each(|(y, before)| *y += before);
    }
    let y = if accumulate { guarded(device, &before, &[n])? } else { poisoned(device, &[n])? };
    let (a, b) = (input(device, &a, &[n])?, input(device, &b, &[n])?);
    device.run(&Multiply { a: &a, b: if square { &a } else { &b }, y: &y, accumulate })?;
    // Half a unit of a product below 1, and of a sum below 2.
    Ok(vec![output("y", y, vec![if accumulate { 1.5 * EPS } else { 0.5 * EPS }]).naive(|| naive)])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for n in SIZES {
        for (square, accumulate) in [(false, false), (false, true), (true, true)] {
            let name = format!(
                "multiply {n}{}{}",
                if square { " by itself" } else { "" },
                if accumulate { ", accumulated" } else { "" }
            );
            all.push(case(name, move |d| products(d, n, square, accumulate)));
        }
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    products(device, 257, false, true).map(drop)
}
