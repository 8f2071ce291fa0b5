//! Scatter of the gradients of means over tokens.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::token_mean_backward::TokenMeanBackward;

use crate::harness::{Case, Output, case, input, numbers, output, poisoned};
use crate::token_mean::SIZES;

fn scatter(device: &Device, [b, tokens, d, first, count]: [usize; 5]) -> Result<Vec<Output>> {
    let data = numbers(1, b * d);
    let range = first..first + count;
    let at = |i: usize| {
        let (row, col) = (i / d, i % d);
        let inside = range.contains(&(row % tokens));
        if inside { f64::from(data[row / tokens * d + col]) / count as f64 } else { 0.0 }
    };
    let naive: Vec<_> = (0..b * tokens * d).map(at).collect();
    // A division that may be off by 2.5 units, none for one token.
    let rounding = if count == 1 { 0.0 } else { 2.5 * f64::from(f32::EPSILON) };
    let bound = naive.iter().map(|x| f64::MIN_POSITIVE + rounding * x.abs()).collect();
    let dy = input(device, &data, &[b, d])?;
    let dx = poisoned(device, &[b, tokens, d])?;
    device.run(&TokenMeanBackward { dy: &dy, range: range.clone(), dx: &dx })?;
    Ok(vec![output("dx", dx, bound).naive(|| naive)])
}

pub fn cases() -> Vec<Case> {
    SIZES.map(|size| case(format!("token_mean_backward {size:?}"), move |d| scatter(d, size))).into()
}

pub fn examples(device: &Device) -> Result<()> {
    scatter(device, SIZES[6]).map(drop)
}
