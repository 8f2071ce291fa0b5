//! Gradients of ratios with roots, also where the root was raised; differences judge the formula.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::root_ratio::RootRatio;
use minoise::kernels::root_ratio_backward::RootRatioBackward;
use minoise::kernels::row_unit::LEAST;
use pollster::block_on;

use crate::harness::{Case, Output, case, input, numbers, output, poisoned};
use crate::root_ratio::{SIZES, root, squares};

const EPS: f64 = f32::EPSILON as f64;

fn gradients(device: &Device, n: usize) -> Result<Vec<Output>> {
    let (dy, s) = (numbers(3, n), squares(n));
    let y: Vec<f32> = numbers(1, n).iter().zip(&s).map(|(x, s)| (f64::from(*x) / root(*s)) as f32).collect();
    let dx: Vec<f64> = dy.iter().zip(&s).map(|(dy, s)| f64::from(*dy) / root(*s)).collect();
    let slope = |(y, s): (&f32, &f32)| {
        if root(*s) > LEAST { -0.5 * f64::from(*y) / f64::from(*s) } else { 0.0 }
    };
    let ds: Vec<f64> = y.iter().zip(&s).map(slope).zip(&dy).map(|(slope, dy)| slope * f64::from(*dy)).collect();
    // Quotients of three units; a root of three more and the least root, or a product.
    let relative = |x: &[f64], units: f64| x.iter().map(|x| f64::MIN_POSITIVE + units * EPS * x.abs()).collect();
    let bounds: [Vec<f64>; 2] = [relative(&dx, 7.0), relative(&ds, 4.0)];
    let [s, y, dy] = [&s, &y, &dy].map(|x| input(device, x, &[n]));
    let (s, y, dy) = (s?, y?, dy?);
    let [got_dx, got_ds] = [poisoned(device, &[n])?, poisoned(device, &[n])?];
    device.run(&RootRatioBackward { s: &s, y: &y, dy: &dy, dx: &got_dx, ds: &got_ds })?;
    let [of_dx, of_ds] = bounds;
    Ok(vec![output("dx", got_dx, of_dx).naive(|| dx), output("ds", got_ds, of_ds).naive(|| ds)])
}

/// Central differences in f64, of an ordinary root, of one that is raised and of zero.
fn differences(device: &Device) -> Result<Vec<Output>> {
    if device.is_double() {
        for (x, s) in [(0.7f64, 0.3f64), (-0.4, 1e-30), (0.2, 0.0)] {
            let y = device.reals(&[1])?;
            let ratio = |x: f64, s: f64| -> Result<f64> {
                device.run(&RootRatio { x: &device.upload(&[x], &[1])?, s: &device.upload(&[s], &[1])?, y: &y })?;
                Ok(block_on(device.read::<f64>(&y))?[0])
            };
            let [dx, ds, dy] = [device.reals(&[1])?, device.reals(&[1])?, device.upload(&[1.0f64], &[1])?];
            ratio(x, s)?;
            device.run(&RootRatioBackward { s: &device.upload(&[s], &[1])?, y: &y, dy: &dy, dx: &dx, ds: &ds })?;
            let got = [block_on(device.read::<f64>(&dx))?[0], block_on(device.read::<f64>(&ds))?[0]];
            // Steps that do not leave the numbers whose root is raised.
            let steps = [1e-6, if s > LEAST * LEAST { 1e-6 } else { 0.5 * s }];
            let by_x = (ratio(x + steps[0], s)? - ratio(x - steps[0], s)?) / (2.0 * steps[0]);
            let by_s =
                if s > 0.0 { (ratio(x, s + steps[1])? - ratio(x, s - steps[1])?) / (2.0 * steps[1]) } else { 0.0 };
            for (got, want) in got.into_iter().zip([by_x, by_s]) {
                assert!((got - want).abs() <= 1e-8 * want.abs(), "{x} and {s:e}: {got:e} for {want:e}");
            }
        }
    }
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![case("root_ratio_backward differences".into(), differences)];
    all.extend(SIZES.map(|n| case(format!("root_ratio_backward {n}"), move |d| gradients(d, n))));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    gradients(device, 257).map(drop)
}
