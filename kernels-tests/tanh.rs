//! The hyperbolic tangent.

use minoise::device::Device;
use minoise::kernels::tanh::Tanh;
use minoise::{Error, Result};

use crate::add::SIZES;
use crate::harness::{Case, Output, case, input, numbers, output, poisoned, wide};

/// Error of `(1 - e) / (1 + e)`, e = exp(-|x|)^2: twice that of the exponential (on a GPU 3 + 2 |x| units) and a rounding,
/// times the slope 2 / (1 + e)^2, and the errors of the difference, the sum, the division (2.5 units) and the sign.
fn bound(x: f64) -> f64 {
    let e = (-2.0 * x.abs()).exp();
    let of_e = e * (2.0 * (3.0 + 2.0 * x.abs()) + 1.0);
    f64::from(f32::EPSILON) * (2.0 / (1.0 + e).powi(2) * of_e + 5.0 * x.tanh().abs() + 0.5)
}

fn bent(device: &Device, n: usize) -> Result<Vec<Output>> {
    let mut data: Vec<f32> = numbers(1, n).iter().map(|x| 4.0 * x).collect();
    // Behind the ends of the exponential, next to 0, and 0.
    for (x, special) in data.iter_mut().skip(7).zip([100.0, -100.0, f32::MAX, -f32::MAX, 1e-5, -1e-20, 0.0]) {
        *x = special;
    }
    let bounds = wide(&data).into_iter().map(bound).collect();
    let (x, y) = (input(device, &data, &[n])?, poisoned(device, &[n])?);
    device.run(&Tanh { x: &x, y: &y })?;
    Ok(vec![output("y", y, bounds).naive(move || wide(&data).into_iter().map(f64::tanh).collect())])
}

fn refuses(device: &Device) -> Result<Vec<Output>> {
    let refused = device.run(&Tanh { x: &device.reals(&[3])?, y: &device.reals(&[4])? });
    assert!(matches!(refused, Err(Error::Shape { arg: "x", .. })));
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![case("tanh refuses other shapes".into(), refuses)];
    all.extend(SIZES.into_iter().chain([0]).map(|n| case(format!("tanh {n}"), move |d| bent(d, n))));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    bent(device, 257).map(drop)
}
