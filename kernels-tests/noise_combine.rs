//! The unfused step, and the whole noise layer in both of its paths.

use minoise::Result;
use minoise::algorithms::noise::{NoiseLayer, Path};
use minoise::device::Device;
use minoise::kernels::mixture_backward::MixtureBackward;
use minoise::kernels::noise_combine::{Direction, NoiseCombine, partial_rows};
use minoise::kernels::noise_mix::Noise;

use crate::harness::{Case, Output, case, growth, guarded, input, numbers, output, poisoned, random, rms, wide};
use crate::noise_mix::{APART, EPS, NOISES, Problem, SAMPLE, SHAPES, Tensors, check_oracle, shape};
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

fn both_ways(device: &Device, step: Step) -> Result<Vec<Output>> {
    let Step { rows, e, sigma, sample } = step;
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
    let n = partial_rows(rows, e);
    let partials = guarded(device, &numbers(6, n * MODULES), &[n, MODULES])?;
    device.run(&of(Direction::Backward { dz: &dz, dmaps: &dmaps, scores: Some((&maps, &partials)) }))?;
    device.run(&of(Direction::Backward { dz: &dz, dmaps: &alone, scores: None }))?;
    // The other modules' sums are left as they are.
    let sums = sum_rows(device, &partials)?;
    // Three roundings of numbers below 3.
    let few = vec![12.0 * EPS];
    let naive = step.naive();
    // Sums are uploaded again in f32.
    let error = |i: usize| if i == MODULE { naive.domega_error } else { EPS * naive.sums[i].abs() };
    let domega = (0..MODULES).map(error).collect();
    let all = [
        ("first", first, few.clone(), naive.first),
        ("later", later, few.clone(), naive.later),
        ("dmaps", dmaps, few.clone(), naive.dmaps.clone()),
        ("alone", alone, few, naive.dmaps),
        ("sums", sums, domega, naive.sums),
    ];
    Ok(all.into_iter().map(|(name, tensor, bound, naive)| output(name, tensor, bound).naive(|| naive)).collect())
}

/// What [`both_ways`] leaves, by plain loops.
struct Naive {
    first: Vec<f64>,
    later: Vec<f64>,
    dmaps: Vec<f64>,
    sums: Vec<f64>,
    domega_error: f64,
}

impl Step {
    fn naive(&self) -> Naive {
        let Step { rows, e, sigma, sample } = *self;
        let (n, width) = (rows * e, if sigma { 2 * e } else { e });
        let [maps, dz, eps] = [(1, rows * width), (2, n), (4, n)].map(|(seed, n)| wide(&numbers(seed, n)));
        let omega = f64::from(numbers(3, MODULES)[MODULE]);
        let mut naive = Naive {
            first: vec![0.0; n],
            later: wide(&numbers(5, n)),
            dmaps: vec![0.0; rows * width],
            sums: vec![0.0; MODULES],
            domega_error: 0.0,
        };
        for (i, before) in numbers(6, partial_rows(rows, e) * MODULES).into_iter().enumerate() {
            naive.sums[i % MODULES] += if i % MODULES == MODULE { 0.0 } else { f64::from(before) };
        }
        let mut size = 0.0;
        for i in 0..n {
            let at = i / e * width + i % e;
            let eps = if sample { eps[i] } else { 1.0 };
            let (mu, s) = match (sigma, sample) {
                (true, _) => (maps[at], eps * maps[at + e]),
                (false, true) => (0.0, eps * maps[at]),
                (false, false) => (maps[at], 0.0),
            };
            naive.first[i] = omega * (mu + s);
            naive.later[i] += omega * (mu + s);
            naive.dmaps[at] = omega * dz[i] * if sigma { 1.0 } else { eps };
            if sigma {
                naive.dmaps[at + e] = omega * dz[i] * eps;
            }
            naive.sums[MODULE] += dz[i] * (mu + s);
            size += dz[i].abs() * (mu.abs() + s.abs());
        }
        // Devices sum at most 4096 products in f32, in chains of at most 256; the host adds these sums up in f64.
        naive.domega_error = (growth(n.min(256)) + 4.0) * EPS * size / (n.div_ceil(4096) as f64).sqrt();
        naive
    }
}

/// Forward and all gradients of one path. The oracle takes the other path, so that the two are compared as well.
fn layer(device: &Device, problem: &Problem, noise: Noise, path: Path) -> Result<Vec<Output>> {
    let shape = problem.shape;
    let other = if path == Path::Fused { Path::Unfused } else { Path::Fused };
    let path = if device.name().contains("f64") { other } else { path };
    let Tensors { x, residual, proj, phi, omega } = &problem.upload(device)?;
    let layer = NoiseLayer { proj, phi, omega, layout: problem.layout, modules: shape.modules, noise };
    let dy = numbers(21, shape.rows * shape.d1);
    let (forward, want) = (problem.forward(noise), backward(problem, &dy, noise));
    let dy = input(device, &dy, &[shape.rows, shape.d1])?;
    let y = layer.forward(device, x, residual, path)?;
    let got = layer.backward(device, x, &dy, problem.residual.is_none(), path, true)?;
    let (dphi, partials) = (got.phi.expect("phi"), got.domega.expect("domega"));
    let da = poisoned(device, &[shape.modules])?;
    device.run(&MixtureBackward { partials: &partials, omega, out: &da, layer: 0 })?;
    for (tensor, want) in [(&y, &forward), (&got.dx, &want.dx), (&dphi, &want.phi)] {
        check_oracle(device, tensor, want)?;
    }
    let weights = wide(&problem.omega);
    let parts: Vec<_> = weights.iter().zip(&want.domega.value).map(|(w, d)| w * d).collect();
    let size: f64 = parts.iter().map(|p| p.abs()).sum();
    let mean_error = weights.iter().zip(&want.domega.error).map(|(w, e)| (w * e).powi(2)).sum::<f64>().sqrt();
    let rounding = (growth(shape.modules) + 8.0) * EPS;
    let errors = weights.iter().zip(&want.domega.error).zip(&want.domega.value);
    let da_bound = errors.map(|((w, e), d)| w * e.hypot(mean_error).hypot(rounding * (d.abs() + size))).collect();
    // One-layer maps that are mixed first bring as many more terms to a sum as there are modules.
    let (d2, one) = (shape.d2 as f64, if shape.layers == 1 { 1.0 } else { 0.0 });
    let tokens = 1.0 + one * shape.modules as f64 / d2;
    let outputs = [
        ("y", y, forward.scaled(tokens).error),
        ("dx", got.dx, want.dx.scaled(tokens).error),
        ("phi", dphi, want.phi.scaled(1.0 + one / d2).error),
    ];
    let outputs = outputs.into_iter().map(|(name, tensor, bound)| output(name, tensor, bound));
    // With one module the gradient vanishes.
    let size = rms(&weights.iter().zip(&want.domega_size).map(|(w, d)| w * d).collect::<Vec<_>>());
    Ok(outputs.chain([output("da", da, da_bound).differences_of(size)]).collect())
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (rows, e) in [(1, 4), (3, 24), (64, 96), (67, 12), (131, 100), (70_000, 64)] {
        for (sigma, sample) in [(false, false), (false, true), (true, false), (true, true)] {
            let step = Step { rows, e, sigma, sample };
            all.push(case(format!("noise_combine {step:?}"), move |d| both_ways(d, step)));
        }
    }
    for shape in SHAPES {
        for (name, noise) in NOISES {
            all.push(case(format!("noise layer unfused {shape:?} {name}"), move |d| {
                layer(d, &Problem::new(shape), noise, Path::Unfused)
            }));
        }
        // With one layer every noise takes another way.
        for (name, noise) in NOISES.into_iter().filter(|n| n.1 == SAMPLE || shape.layers == 1) {
            all.push(case(format!("noise layer fused {shape:?} {name}"), move |d| {
                layer(d, &Problem::new(shape), noise, Path::Fused)
            }));
        }
    }
    for shape in APART {
        for (name, noise) in NOISES {
            for path in [Path::Unfused, Path::Fused] {
                let name = format!("noise layer {path:?} {shape:?} {name}, another residual");
                all.push(case(name, move |d| layer(d, &Problem::apart(shape), noise, path)));
            }
        }
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    for (sigma, sample) in [(false, false), (false, true), (true, false), (true, true)] {
        both_ways(device, Step { rows: 3, e: 24, sigma, sample })?;
    }
    for shape in [shape(7, 60, 21, 2, 2), shape(7, 60, 24, 2, 1)] {
        let problem = Problem::new(shape);
        let Tensors { x, proj, phi, omega, .. } = &problem.upload(device)?;
        for (_, noise) in NOISES {
            let layer = NoiseLayer { proj, phi, omega, layout: problem.layout, modules: shape.modules, noise };
            layer.forward(device, x, x, Path::Unfused)?;
            layer.backward(device, x, x, true, Path::Unfused, true)?;
        }
    }
    Ok(())
}
