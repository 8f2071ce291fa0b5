//! The class token, and means over tokens.

use minoise::device::Device;
use minoise::kernels::token_mean::TokenMean;
use minoise::{Error, Result};

use crate::harness::{Case, Output, case, growth, input, numbers, output, poisoned};

/// Batch, tokens, columns; the first token and how many.
pub const SIZES: [[usize; 5]; 9] = [
    [1, 1, 1, 0, 1],
    [3, 5, 7, 0, 1],
    [2, 17, 128, 0, 1],
    [1, 2, 257, 1, 1],
    [67, 3, 61, 0, 3],
    [2, 197, 96, 1, 196],
    [3, 21, 33, 5, 16],
    [2, 7, 4, 2, 3],
    [0, 4, 8, 1, 3],
];

fn mean(device: &Device, [b, tokens, d, first, count]: [usize; 5]) -> Result<Vec<Output>> {
    let data = numbers(1, b * tokens * d);
    let (mut naive, mut bound) = (vec![0.0; b * d], vec![0.0; b * d]);
    for (i, (mean, bound)) in naive.iter_mut().zip(&mut bound).enumerate() {
        let term = |t: usize| f64::from(data[(i / d * tokens + first + t) * d + i % d]) / count as f64;
        *mean = (0..count).map(term).sum();
        // A division that may be off by 2.5 units; a token alone is copied.
        let rounding = if count == 1 { 0.0 } else { (growth(count) / 2.0 + 3.0) * f64::from(f32::EPSILON) };
        *bound = f64::MIN_POSITIVE + rounding * (0..count).map(|t| term(t).abs()).sum::<f64>();
    }
    let x = input(device, &data, &[b, tokens, d])?;
    let out = poisoned(device, &[b, d])?;
    device.run(&TokenMean { x: &x, range: first..first + count, out: &out })?;
    Ok(vec![output("out", out, bound).naive(|| naive)])
}

/// No token, or more than there are.
fn refuses(device: &Device) -> Result<Vec<Output>> {
    let (x, out) = (device.reals(&[2, 5, 3])?, device.reals(&[2, 3])?);
    for range in [2..2, 3..6] {
        let refused = device.run(&TokenMean { x: &x, range, out: &out });
        assert!(matches!(refused, Err(Error::Shape { arg: "x", .. })));
    }
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![case("token_mean refuses ranges without tokens".into(), refuses)];
    all.extend(SIZES.map(|size| case(format!("token_mean {size:?}"), move |d| mean(d, size))));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    mean(device, SIZES[6]).map(drop)
}
