//! minoise's side of a comparison; see `cases.rs` and `compare`. The device is that of `MINOISE_DEVICE`. With the argument
//! `plain` the images are loaded by a plain loop instead, and there is no other case.

mod cases;
mod loader;
mod vit;

use std::cell::RefCell;
use std::rc::Rc;

use cases::{Case, Ready, numbers};
use minoise::Result;
use minoise::algorithms::noise::{NoiseLayer, Path};
use minoise::autograd::{Linear, Loss, Tape, Var};
use minoise::device::{Device, Selector, Tensor};
use minoise::kernels::attention::Attention;
use minoise::kernels::gemm::{Activation, Gemm, Layout, Mat};
use minoise::kernels::layernorm::LayerNorm;
use minoise::kernels::noise_mix::{Noise, PhiLayout};
use minoise::model::head::Statistics;
use minoise::model::optimizer::{Optimizer, Parameter, Rule};
use pollster::block_on;

const EPS: f32 = 1e-6;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("plain") {
        return cases::serve(|| (), |case| (case == Case::Loader).then(loader::plain));
    }
    let device = block_on(Device::open(&Selector::from_flag_or_env(None))).expect("a device");
    eprintln!("minoise on {}", device.name());
    let wait = || block_on(device.finish()).expect("the queue");
    cases::serve(wait, |case| Some(build(&device, case).expect("operands")));
}

fn tensor(device: &Device, seed: u32, shape: &[usize], scale: f32) -> Result<Tensor> {
    device.upload(&numbers(seed, shape.iter().product(), scale), shape)
}

/// A case whose passes write `out`.
fn ready(device: &Device, out: &Tensor, pass: impl Fn(&Device) -> Result<()> + 'static) -> Ready {
    let (device, again, out, pass) = (device.clone(), device.clone(), out.clone(), Rc::new(pass));
    let checked = pass.clone();
    Ready {
        pass: Box::new(move || pass(&device).expect("a pass")),
        results: Box::new(move || {
            checked(&again).expect("a pass");
            block_on(again.read(&out)).expect("results")
        }),
    }
}

fn build(device: &Device, case: Case) -> Result<Ready> {
    match case {
        Case::Gemm([m, k, n]) => {
            let (a, b) = (tensor(device, 1, &[m, k], 2.0)?, tensor(device, 2, &[k, n], 2.0)?);
            let out = device.reals(&[m, n])?;
            Ok(ready(device, &out.clone(), move |d| d.run(&Gemm::new(Layout::NN, &a, &b, &out)?)))
        }
        Case::Hidden([rows, d]) => {
            let (x, w) = (tensor(device, 1, &[rows, d], 2.0)?, tensor(device, 2, &[d, 4 * d], 0.5)?);
            let (bias, out) = (tensor(device, 3, &[4 * d], 2.0)?, device.reals(&[rows, 4 * d])?);
            Ok(ready(device, &out.clone(), move |d| {
                let (bias, activation) = (Some(Mat::of(&bias)), Activation::Gelu);
                d.run(&Gemm { bias, activation, ..Gemm::new(Layout::NN, &x, &w, &out)? })
            }))
        }
        Case::Attention(shape) => attention(device, shape),
        Case::LayerNorm([rows, cols]) => {
            let x = tensor(device, 6, &[rows, cols], 2.0)?;
            let (gamma, beta) = (tensor(device, 7, &[cols], 2.0)?, tensor(device, 8, &[cols], 2.0)?);
            let out = device.reals(&[rows, cols])?;
            Ok(ready(device, &out.clone(), move |d| d.run(&LayerNorm::new(&x, &gamma, &beta, &out, EPS))))
        }
        Case::Noise(modules) => noise(device, modules),
        Case::Train => train(device),
        Case::Ridge(shape) => ridge(device, shape),
        Case::Features(shape) => vit::features(device, shape),
        Case::Paper(modules) => vit::paper(device, modules),
        Case::Loader => Ok(loader::ours()),
    }
}

/// The others have q, k and v as [batch, heads, tokens, columns], we the columns of one matrix.
fn attention(device: &Device, [b, h, n, d]: [usize; 4]) -> Result<Ready> {
    let parts = [3, 4, 5].map(|seed| numbers(seed, b * h * n * d, 2.0));
    let mut qkv = Vec::with_capacity(3 * parts[0].len());
    for (image, token) in (0..b * n).map(|row| (row / n, row % n)) {
        for part in &parts {
            for head in 0..h {
                qkv.extend_from_slice(&part[((image * h + head) * n + token) * d..][..d]);
            }
        }
    }
    let (qkv, out) = (device.upload(&qkv, &[b * n, 3 * h * d])?, device.reals(&[b * n, h * d])?);
    Ok(ready(device, &out.clone(), move |d| {
        d.run(&Attention { qkv: &qkv, prefix: None, out: &out, lse: None, batch: b, tokens: n, heads: h })
    }))
}

/// Passes draw their noise; the others find the same numbers.
fn noise(device: &Device, modules: usize) -> Result<Ready> {
    const D2: usize = 96;
    let x = tensor(device, 11, &[3152, 192], 2.0)?;
    let proj = [numbers(12, 192 * D2, 0.2), numbers(13, D2 * 192, 0.2)].concat();
    let proj = device.upload(&proj, &[2, 192 * D2])?;
    let layout = PhiLayout::new(D2, 1)?;
    let mut phi = Vec::new();
    for i in 0..modules as u32 {
        let [w_mu, b_mu, w_sigma, b_sigma] = [D2 * D2, D2, D2 * D2, D2];
        let part = |k: u32, n: usize| numbers(20 + 4 * i + k, n, 0.2);
        // As PhiLayout has them: both matrices, then both biases.
        phi.extend([part(0, w_mu), part(2, w_sigma), part(1, b_mu), part(3, b_sigma)].concat());
    }
    let phi = device.upload(&phi, &[modules, layout.len()])?;
    let sum = (modules * (modules + 1) / 2) as f32;
    let omega: Vec<f32> = (1..=modules).map(|i| i as f32 / sum).collect();
    let omega = device.upload(&omega, &[modules])?;
    let (device, again) = (device.clone(), device.clone());
    let forward = Rc::new(move |d: &Device| {
        let noise = Noise::Sample { seed: 1, layer: 0, step: 0, first_row: 0 };
        let layer = NoiseLayer { proj: &proj, phi: &phi, omega: &omega, layout, modules, noise };
        layer.forward(d, &x, &x, Path::Fused).expect("a pass")
    });
    let checked = forward.clone();
    Ok(Ready {
        pass: Box::new(move || drop(forward(&device))),
        results: Box::new(move || block_on(again.read(&checked(&again))).expect("results")),
    })
}

const BATCH: usize = 16;
const TOKENS: usize = 65;
const DIM: usize = 192;
const HEADS: usize = 3;

/// Parameters of a block, in the order of their use: norm, qkv, projection, norm, MLP; each with its bias.
struct Vit {
    blocks: Vec<[Tensor; 12]>,
    /// Norm and head.
    end: [Tensor; 4],
    x: Tensor,
    labels: Tensor,
    loss: Tensor,
    optimizer: Optimizer,
}

impl Vit {
    fn new(device: &Device) -> Result<Self> {
        let mut seed = 199;
        let mut weight = |rows: usize, cols: usize| {
            seed += 1;
            tensor(device, seed, &[rows, cols], 0.07)
        };
        let constant = |n: usize, value: f32| device.upload(&vec![value; n], &[n]);
        let mut blocks = Vec::new();
        for _ in 0..4 {
            let matrices = [weight(DIM, 3 * DIM)?, weight(DIM, DIM)?, weight(DIM, 4 * DIM)?, weight(4 * DIM, DIM)?];
            let [qkv, projection, fc1, fc2] = matrices;
            let zeros = |n: usize| constant(n, 0.0);
            let norm = || -> Result<[Tensor; 2]> { Ok([constant(DIM, 1.0)?, zeros(DIM)?]) };
            let [[g1, b1], [g2, b2]] = [norm()?, norm()?];
            let (qkv_bias, bias, c1, c2) = (zeros(3 * DIM)?, zeros(DIM)?, zeros(4 * DIM)?, zeros(DIM)?);
            blocks.push([g1, b1, qkv, qkv_bias, projection, bias, g2, b2, fc1, c1, fc2, c2]);
        }
        let end = [constant(DIM, 1.0)?, constant(DIM, 0.0)?, weight(DIM, 10)?, constant(10, 0.0)?];
        let parameters = blocks.iter().flatten().chain(&end).map(|tensor| Parameter::whole("", tensor)).collect();
        let labels: Vec<u32> = (0..BATCH as u32).map(|i| i % 10).collect();
        let rule = Rule::Sgd { lr: 0.05, momentum: 0.0, weight_decay: 0.0 };
        Ok(Self {
            blocks,
            end,
            x: tensor(device, 100, &[BATCH * TOKENS, DIM], 2.0)?,
            labels: device.upload_u32(&labels, &[BATCH])?,
            loss: device.zeros(&[1])?,
            optimizer: Optimizer::new(device, rule, parameters)?,
        })
    }

    fn step(&mut self, device: &Device) -> Result<()> {
        let mut tape = Tape::new(device, self.optimizer.tracked());
        let mut h = tape.var(&self.x);
        for block in &self.blocks {
            let [g1, b1, qkv, qkv_bias, projection, bias, g2, b2, fc1, c1, fc2, c2] =
                block.each_ref().map(|t| tape.var(t));
            let u = tape.layer_norm(&h, &g1, &b1, EPS)?;
            let qkv = linear(&mut tape, &u, [&qkv, &qkv_bias], None, Activation::None)?;
            let o = tape.attention(&qkv, BATCH, TOKENS, HEADS)?;
            h = linear(&mut tape, &o, [&projection, &bias], Some(&h), Activation::None)?;
            let u = tape.layer_norm(&h, &g2, &b2, EPS)?;
            let u = linear(&mut tape, &u, [&fc1, &c1], None, Activation::Gelu)?;
            h = linear(&mut tape, &u, [&fc2, &c2], Some(&h), Activation::None)?;
        }
        let [gamma, beta, head, bias] = self.end.each_ref().map(|t| tape.var(t));
        let h = tape.layer_norm(&h, &gamma, &beta, EPS)?;
        let c = tape.class_token(&h, BATCH, TOKENS)?;
        let logits = linear(&mut tape, &c, [&head, &bias], None, Activation::None)?;
        let root = tape.cross_entropy(&logits, &self.labels, Loss::new(&self.loss, 0, self.labels.len()))?;
        let gradients = tape.backward(&root)?;
        self.optimizer.step(&gradients, 1.0)?;
        device.flush()
    }
}

fn linear(
    tape: &mut Tape,
    x: &Var,
    [weight, bias]: [&Var; 2],
    residual: Option<&Var>,
    activation: Activation,
) -> Result<Var> {
    tape.linear(x, Linear { bias: Some(bias), residual, activation, ..Linear::new(weight) })
}

fn train(device: &Device) -> Result<Ready> {
    let (device, again, vit) = (device.clone(), device.clone(), RefCell::new(Vit::new(device)?));
    // Pipelines are compiled side by side, as a run does it.
    device.prewarm(|| vit.borrow_mut().step(&device))?;
    Ok(Ready {
        pass: Box::new(move || vit.borrow_mut().step(&device).expect("a step")),
        results: Box::new(move || {
            let mut fresh = Vit::new(&again).expect("a network");
            let mut loss = || {
                fresh.step(&again).expect("a step");
                block_on(again.read::<f32>(&fresh.loss)).expect("a loss")[0]
            };
            (0..5).map(|_| loss()).collect()
        }),
    })
}

/// Passes factor, substitute and check the residual of the equations.
fn ridge(device: &Device, [m, classes]: [usize; 2]) -> Result<Ready> {
    const SAMPLES: usize = 1000;
    let p: Vec<f32> = numbers(41, SAMPLES * m, 2.0).into_iter().map(|x| x.max(0.0)).collect();
    let labels: Vec<u32> = (0..SAMPLES).map(|i| (i % classes) as u32).collect();
    let mut statistics = Statistics::new(device, m)?;
    statistics.widen(classes)?;
    block_on(statistics.add(device, &device.upload(&p, &[SAMPLES, m])?, &labels))?;
    let (device, again, statistics) = (device.clone(), device.clone(), Rc::new(statistics));
    let solve = move |d: &Device| block_on(statistics.solve(d, 1.0, &mut |_| ())).expect("a classifier").weights;
    let checked = solve.clone();
    Ok(Ready {
        pass: Box::new(move || drop(solve(&device))),
        results: Box::new(move || block_on(again.read(&checked(&again))).expect("results")),
    })
}
