//! The unfused step, and the whole noise layer in both of its paths.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::mixture_backward::MixtureBackward;
use minoise::kernels::noise::{Noise, NoiseLayer, Path};
use minoise::kernels::noise_combine::{Direction, NoiseCombine, groups};

use crate::harness::{Case, Output, case, guarded, input, numbers, output, poisoned, random};
use crate::noise_mix::{EPS, NOISES, Problem, SAMPLE, SHAPES, Shape, Tensors, check_oracle, shape};
use crate::noise_mix_backward::{backward, sum_rows};

const MODULES: usize = 5;
const MODULE: usize = 3;

#[derive(Clone, Copy, Debug)]
struct Step {
    rows: usize,
    e: usize,
    sigma: bool,
    sample: bool,
}

fn both_ways(device: &Device, Step { rows, e, sigma, sample }: Step) -> Result<Vec<Output>> {
    let width = if sigma { 2 * e } else { e };
    let (maps, dz) = (random(device, 1, &[rows, width])?, random(device, 2, &[rows, e])?);
    let omega = random(device, 3, &[MODULES])?;
    let eps = random(device, 4, &[rows, e])?;
    let of = |direction| {
        let eps = sample.then_some(&eps);
        NoiseCombine { omega: &omega, eps, direction, e, module: MODULE, modules: MODULES }
    };
    let first = poisoned(device, &[rows, e])?;
    device.run(&of(Direction::Forward { maps: &maps, mixed: &first, keep: false }))?;
    let later = guarded(device, &numbers(5, rows * e), &[rows, e])?;
    device.run(&of(Direction::Forward { maps: &maps, mixed: &later, keep: true }))?;
    let (dmaps, alone) = (poisoned(device, &[rows, width])?, poisoned(device, &[rows, width])?);
    let n = groups(rows, e);
    let partials = guarded(device, &numbers(6, n * MODULES), &[n, MODULES])?;
    device.run(&of(Direction::Backward { dz: &dz, dmaps: &dmaps, scores: Some((&maps, &partials)) }))?;
    device.run(&of(Direction::Backward { dz: &dz, dmaps: &alone, scores: None }))?;
    // The other modules' sums are left as they are.
    let sums = sum_rows(device, &partials)?;
    // Three roundings of numbers below 3; sums of rows * e products below 2, and their sum over the groups on the host.
    let (few, sum) = (vec![12.0 * EPS], vec![2.0 * ((rows * e) as f64).powi(2).min(1e6 * (rows * e) as f64) * EPS]);
    Ok([
        ("first", first, &few),
        ("later", later, &few),
        ("dmaps", dmaps, &few),
        ("alone", alone, &few),
        ("sums", sums, &sum),
    ]
    .into_iter()
    .map(|(name, tensor, bound)| output(name, tensor, bound.clone()))
    .collect())
}

/// Forward and all gradients of one path. The oracle takes the other path, so that the two are compared as well.
fn layer(device: &Device, shape: Shape, noise: Noise, path: Path) -> Result<Vec<Output>> {
    let problem = Problem::new(shape);
    let other = if path == Path::Fused { Path::Unfused } else { Path::Fused };
    let path = if device.name().contains("f64") { other } else { path };
    let Tensors { x, proj, phi, omega } = &problem.upload(device)?;
    let layer = NoiseLayer { proj, phi, omega, layout: problem.layout, modules: shape.modules, noise };
    let dy = numbers(21, shape.rows * shape.d1);
    let (forward, want) = (problem.forward(noise), backward(&problem, &dy, noise));
    let dy = input(device, &dy, &[shape.rows, shape.d1])?;
    let y = layer.forward(device, x, path)?;
    let got = layer.backward(device, x, &dy, path, true)?;
    let (dphi, partials) = (got.phi.expect("phi"), got.domega.expect("domega"));
    let da = poisoned(device, &[shape.modules])?;
    device.run(&MixtureBackward::new(&partials, omega, &da, 0)?)?;
    for (tensor, want) in [(&y, &forward), (&got.dx, &want.dx), (&dphi, &want.phi)] {
        check_oracle(device, tensor, want)?;
    }
    let weights: Vec<f64> = problem.omega.iter().map(|&w| w.into()).collect();
    let n = (partials.rows() + 8) as f64;
    // One-layer maps that are mixed first bring as many more terms to a sum as there are modules, and the gradient of
    // omega sums rows of h^T dz, then the products with all weights.
    let (d2, one) = (shape.d2 as f64, if shape.layers == 1 { 1.0 } else { 0.0 });
    let tokens = 1.0 + one * shape.modules as f64 / d2;
    let scores = 1.0 + one * (shape.rows as f64 + d2 * (d2 + 1.0)) / d2;
    let errors = want.domega.value.iter().zip(&want.domega.error);
    let worst: f64 = errors.map(|(d, e)| 2.0 * (scores * e + n * EPS * d.abs())).sum();
    let domega = weights.iter().map(|w| w * worst).collect();
    let outputs = [
        ("y", y, forward.scaled(tokens).error),
        ("dx", got.dx, want.dx.scaled(tokens).error),
        ("phi", dphi, want.phi.scaled(1.0 + one / d2).error),
        ("da", da, domega),
    ];
    Ok(outputs.into_iter().map(|(name, tensor, bound)| output(name, tensor, bound)).collect())
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (rows, e) in [(1, 4), (3, 24), (64, 96), (67, 12), (131, 100), (70_000, 64)] {
        for (sigma, sample) in [(false, false), (true, false), (true, true)] {
            let step = Step { rows, e, sigma, sample };
            all.push(case(format!("noise_combine {step:?}"), move |d| both_ways(d, step)));
        }
    }
    for shape in SHAPES {
        for (name, noise) in NOISES {
            all.push(case(format!("noise layer unfused {shape:?} {name}"), move |d| {
                layer(d, shape, noise, Path::Unfused)
            }));
        }
        // With one layer every noise takes another way.
        for (name, noise) in NOISES.into_iter().filter(|n| n.1 == SAMPLE || shape.layers == 1) {
            all.push(case(format!("noise layer fused {shape:?} {name}"), move |d| layer(d, shape, noise, Path::Fused)));
        }
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    for (sigma, sample) in [(false, false), (true, false), (true, true)] {
        both_ways(device, Step { rows: 3, e: 24, sigma, sample })?;
    }
    for shape in [shape(7, 60, 21, 2, 2), shape(7, 60, 24, 2, 1)] {
        let problem = Problem::new(shape);
        let Tensors { x, proj, phi, omega } = &problem.upload(device)?;
        for (_, noise) in NOISES {
            let layer = NoiseLayer { proj, phi, omega, layout: problem.layout, modules: shape.modules, noise };
            layer.forward(device, x, Path::Unfused)?;
            layer.backward(device, x, x, Path::Unfused, true)?;
        }
    }
    Ok(())
}
