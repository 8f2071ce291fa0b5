//! Mixture weights: one module, many, many layers, large logits.

use minoise::device::Device;
use minoise::kernels::mixture::MixtureSoftmax;
use minoise::{Error, Result};

use crate::harness::{Case, Output, case, input, numbers, output, poisoned};
use crate::noise_mix::EPS;

fn run(device: &Device, shape: &[usize], scale: f32) -> Result<Vec<Output>> {
    let logits: Vec<f32> = numbers(1, shape.iter().product()).iter().map(|x| x * scale).collect();
    let (logits, omega) = (input(device, &logits, shape)?, poisoned(device, shape)?);
    device.run(&MixtureSoftmax { logits: &logits, omega: &omega })?;
    // Exponents below 2 scale carry that many eps, exp a few, the sum one for each module.
    let bound = (8.0 + 4.0 * f64::from(scale) + shape[shape.len() - 1] as f64) * EPS;
    Ok(vec![output("omega", omega, vec![bound])])
}

fn refusal(device: &Device) -> Result<Vec<Output>> {
    let (a, b) = (device.reals(&[3])?, device.reals(&[4])?);
    assert!(matches!(device.run(&MixtureSoftmax { logits: &a, omega: &b }), Err(Error::Shape { .. })));
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let shapes: [&'static [usize]; 6] = [&[1], &[2], &[64], &[12, 10], &[65, 7], &[3, 101]];
    let mut all: Vec<_> = shapes
        .into_iter()
        .flat_map(|shape| {
            [1.0, 30.0].map(|scale| case(format!("mixture {shape:?} {scale}"), move |d| run(d, shape, scale)))
        })
        .collect();
    all.push(case("mixture refuses other shapes".into(), refusal));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    run(device, &[2, 3], 1.0).map(drop)
}
