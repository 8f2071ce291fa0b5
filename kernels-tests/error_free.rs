//! Rounding errors of sums and products, which must come out exactly.

use minoise::Result;
use minoise::device::{Device, Precision};
use minoise::{algorithms::exact_pairs::pairs_are_exact, kernels::error_free::ErrorFree};
use pollster::block_on;

use crate::harness::{Case, Output, case, input, numbers, poisoned};

/// First plus second parts, which f64 holds for operands whose sizes are less than 2^28 apart.
fn totals(device: &Device, n: usize) -> Result<Vec<Output>> {
    let scaled = |seed: u64, step: usize| -> Vec<f32> {
        let sizes = (0..n).map(|i| f32::powi(2.0, (i * step % 25) as i32 - 12));
        numbers(seed, n).into_iter().zip(sizes).map(|(x, size)| x * size).collect()
    };
    let (a, b) = (input(device, &scaled(1, 7), &[n])?, input(device, &scaled(2, 11), &[n])?);
    let y = poisoned(device, &[4, n])?;
    device.run(&ErrorFree { a: &a, b: &b, y: &y })?;
    let parts: Vec<f64> = block_on(device.read(&y))?;
    let (a, b): (Vec<f64>, Vec<f64>) = (block_on(device.read(&a))?, block_on(device.read(&b))?);
    for i in 0..n {
        let [s, e, p, f] = [0, 1, 2, 3].map(|row| parts[row * n + i]);
        assert!(s + e == a[i] + b[i] && p + f == a[i] * b[i], "{} and {}: {s} {e:e}, {p} {f:e}", a[i], b[i]);
        assert!((s + e) as f32 == s as f32 && (p + f) as f32 == p as f32, "first parts are rounded results");
    }
    Ok(Vec::new())
}

fn usable(device: &Device) -> Result<Vec<Output>> {
    assert!(block_on(pairs_are_exact(device))? || device.name() == Device::cpu(Precision::F64).name());
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let mut all: Vec<_> = [1, 255, 257, 1023].map(|n| case(format!("error_free {n}"), move |d| totals(d, n))).into();
    all.push(case("error_free on this device".into(), usable));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    let (a, y) = (device.reals(&[5])?, device.reals(&[4, 5])?);
    device.run(&ErrorFree { a: &a, b: &a, y: &y })
}
