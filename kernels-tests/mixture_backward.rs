//! Gradient of the mixture's logits: few and many partial sums, layers that stay as they are.

use minoise::device::Device;
use minoise::kernels::mixture::Mixture;
use minoise::kernels::mixture_backward::MixtureBackward;
use minoise::{Error, Result};

use crate::harness::{Case, Output, case, guarded, numbers, output, random};
use crate::noise_mix::EPS;

fn run(device: &Device, groups: usize, layers: usize, modules: usize) -> Result<Vec<Output>> {
    let logits = random(device, 1, &[layers, modules])?;
    let omega = device.reals(&[layers, modules])?;
    device.run(&Mixture::new(&logits, &omega)?)?;
    let partials = random(device, 2, &[groups, modules])?;
    let out = guarded(device, &numbers(3, layers * modules), &[layers, modules])?;
    device.run(&MixtureBackward::new(&partials, &omega, &out, layers - 1)?)?;
    // Sums of `groups` numbers below 1, their mean over the modules; omega is exact to a few eps and below 1.
    let bound = (2.0 * groups as f64 * (groups + modules + 16) as f64) * EPS;
    Ok(vec![output("da", out, vec![bound])])
}

/// `a_i` moves the loss `sum_j omega_j domega_j` by da_i: central differences in f64.
fn differences(device: &Device) -> Result<Vec<Output>> {
    if device.name().contains("f64") {
        let modules = 5;
        let a: Vec<f64> = numbers(1, modules).into_iter().map(f64::from).collect();
        let domega: Vec<f64> = numbers(2, modules).into_iter().map(f64::from).collect();
        let softmax = |a: &[f64]| -> Result<minoise::device::Tensor> {
            let (a, omega) = (device.upload(a, &[modules])?, device.reals(&[modules])?);
            device.run(&Mixture::new(&a, &omega)?)?;
            Ok(omega)
        };
        let loss = |a: &[f64]| -> Result<f64> {
            let omega: Vec<f64> = pollster::block_on(device.read(&softmax(a)?))?;
            Ok(omega.iter().zip(&domega).map(|(w, d)| w * d).sum())
        };
        let (omega, out) = (softmax(&a)?, device.reals(&[modules])?);
        device.run(&MixtureBackward::new(&device.upload(&domega, &[1, modules])?, &omega, &out, 0)?)?;
        let got: Vec<f64> = pollster::block_on(device.read(&out))?;
        for (i, got) in got.into_iter().enumerate() {
            let moved = |by: f64| (0..modules).map(|j| a[j] + if i == j { by } else { 0.0 }).collect::<Vec<_>>();
            let want = (loss(&moved(1e-5))? - loss(&moved(-1e-5))?) / 2e-5;
            assert!((got - want).abs() < 1e-9, "da[{i}]: {got} for {want}");
        }
    }
    Ok(Vec::new())
}

fn refusal(device: &Device) -> Result<Vec<Output>> {
    let (partials, omega, out) = (device.reals(&[2, 3])?, device.reals(&[2, 3])?, device.reals(&[3])?);
    assert!(matches!(MixtureBackward::new(&partials, &omega, &out, 1), Err(Error::Shape { .. })));
    assert!(MixtureBackward::new(&partials, &omega, &out, 0).is_ok());
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let mut all: Vec<_> = [(1, 1, 1), (1, 2, 2), (255, 1, 3), (256, 3, 10), (257, 1, 5), (3001, 1, 64), (5, 1, 300)]
        .into_iter()
        .map(|(g, l, t)| case(format!("mixture_backward [{g}, {t}] layer {}", l - 1), move |d| run(d, g, l, t)))
        .collect();
    all.push(case("mixture_backward differences".into(), differences));
    all.push(case("mixture_backward refuses other shapes".into(), refusal));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    run(device, 2, 1, 3).map(drop)
}
