//! Gradient of the mixture's logits: few and many partial sums, layers that stay as they are.

use minoise::device::Device;
use minoise::kernels::mixture::MixtureSoftmax;
use minoise::kernels::mixture_backward::MixtureBackward;
use minoise::{Error, Result};

use crate::harness::{Case, Output, case, growth, guarded, input, numbers, output, rms, wide};
use crate::noise_mix::EPS;

fn run(device: &Device, groups: usize, layers: usize, modules: usize) -> Result<Vec<Output>> {
    let exps: Vec<f32> = numbers(1, layers * modules).into_iter().map(f32::exp).collect();
    let omega: Vec<f32> = exps.chunks(modules).flat_map(|x| x.iter().map(|e| e / x.iter().sum::<f32>())).collect();
    let (partials, before) = (numbers(2, groups * modules), numbers(3, layers * modules));
    let out = guarded(device, &before, &[layers, modules])?;
    let (p, w) = (input(device, &partials, &[groups, modules])?, input(device, &omega, &[layers, modules])?);
    device.run(&MixtureBackward { partials: &p, omega: &w, out: &out, layer: layers - 1 })?;
    // Only the last layer's row changes.
    let first = (layers - 1) * modules;
    let omega = wide(&omega[first..]);
    let (mut sums, mut errors) = (vec![0.0; modules], vec![0.0; modules]);
    for (i, x) in partials.iter().enumerate() {
        sums[i % modules] += f64::from(*x);
        errors[i % modules] += growth(groups) * EPS / 2.0 * f64::from(x.abs());
    }
    let mean: f64 = omega.iter().zip(&sums).map(|(w, d)| w * d).sum();
    // Errors of the sums, and a product and a sum for each module.
    let terms = omega.iter().zip(&sums).zip(&errors);
    let mean_error: f64 = terms.map(|((w, d), e)| w * (e + (growth(modules) + 2.0) * EPS / 2.0 * d.abs())).sum();
    let (mut naive, mut bound) = (wide(&before), vec![f64::MIN_POSITIVE; layers * modules]);
    for i in 0..modules {
        naive[first + i] = omega[i] * (sums[i] - mean);
        bound[first + i] = omega[i] * (errors[i] + mean_error + EPS * (sums[i].abs() + mean.abs()));
    }
    // One module has no gradient: its sum less itself.
    let size = rms(&omega.iter().zip(&sums).map(|(w, d)| w * d).collect::<Vec<_>>());
    let output = output("da", out, bound).naive(|| naive);
    Ok(vec![if modules == 1 { output.differences_of(size) } else { output }])
}

/// `a_i` moves the loss `sum_j omega_j domega_j` by da_i: central differences in f64.
fn differences(device: &Device) -> Result<Vec<Output>> {
    if device.name().contains("f64") {
        let modules = 5;
        let a: Vec<f64> = numbers(1, modules).into_iter().map(f64::from).collect();
        let domega: Vec<f64> = numbers(2, modules).into_iter().map(f64::from).collect();
        let softmax = |a: &[f64]| -> Result<minoise::device::Tensor> {
            let (a, omega) = (device.upload(a, &[modules])?, device.reals(&[modules])?);
            device.run(&MixtureSoftmax { logits: &a, omega: &omega })?;
            Ok(omega)
        };
        let loss = |a: &[f64]| -> Result<f64> {
            let omega: Vec<f64> = pollster::block_on(device.read(&softmax(a)?))?;
            Ok(omega.iter().zip(&domega).map(|(w, d)| w * d).sum())
        };
        let (omega, out) = (softmax(&a)?, device.reals(&[modules])?);
        device.run(&MixtureBackward {
            partials: &device.upload(&domega, &[1, modules])?,
            omega: &omega,
            out: &out,
            layer: 0,
        })?;
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
    let layer = |layer| MixtureBackward { partials: &partials, omega: &omega, out: &out, layer };
    assert!(matches!(device.run(&layer(1)), Err(Error::Shape { .. })));
    assert!(device.run(&layer(0)).is_ok());
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
