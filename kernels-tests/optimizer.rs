//! The optimizers as methods use them, against plain loops in f64 that are given the device's own gradients.

use libtest_mimic::{Failed, Trial};
use minoise::Result;
use minoise::autograd::{Gradients, Linear, Loss, Tape};
use minoise::device::{Device, Tensor};
use minoise::model::optimizer::{Optimizer, Parameter, Rule, Schedule};
use pollster::block_on;

use crate::harness::{numbers, wide};
use crate::square_sum::chain;

const EPS: f64 = f32::EPSILON as f64;
const BATCH: usize = 3;
const CLASSES: usize = 4;
const STEPS: usize = 5;

/// A linear classifier, and a tensor that its loss does not depend on.
struct Net {
    device: Device,
    apart: Tensor,
    weight: Tensor,
    bias: Tensor,
    loss: Tensor,
    cols: usize,
}

impl Net {
    fn new(device: &Device, cols: usize) -> Result<Self> {
        Ok(Self {
            device: device.clone(),
            apart: device.upload(&numbers(1, 9), &[9])?,
            weight: device.upload(&numbers(2, CLASSES * cols), &[CLASSES, cols])?,
            bias: device.upload(&numbers(3, CLASSES), &[CLASSES])?,
            loss: device.zeros(&[1])?,
            cols,
        })
    }

    /// The gradients of a step. Column 1 of the images is dark in odd steps, so that its weights have gradient zero.
    fn gradients(&self, step: usize) -> Result<Gradients> {
        let (device, cols) = (&self.device, self.cols);
        let mut x = numbers(10 + step as u64, BATCH * cols);
        // Logits of size 1: far from certain, so that gradients stay.
        let size = 1.0 / (cols as f32).sqrt();
        for (i, x) in x.iter_mut().enumerate() {
            *x *= if i % cols == 1 && step % 2 == 1 { 0.0 } else { size };
        }
        let (x, labels) = (device.upload(&x, &[BATCH, cols])?, device.upload_u32(&[3, 0, 2], &[BATCH])?);
        let mut tape = Tape::new(device, [&self.apart, &self.weight, &self.bias]);
        let [x, weight, bias] = [&x, &self.weight, &self.bias].map(|t| tape.var(t));
        let logits = tape.linear(&x, Linear { transposed: true, bias: Some(&bias), ..Linear::new(&weight) })?;
        let root = tape.cross_entropy(&logits, &labels, Loss::new(&self.loss, 0, BATCH))?;
        tape.backward(&root)
    }

    fn read(&self, tensor: &Tensor) -> Result<Vec<f64>> {
        block_on(self.device.read(tensor))
    }

    /// Whether a trained tensor holds these numbers, each within its bound, and the tensor without gradient what it held.
    fn meets(&self, name: &str, tensor: &Tensor, wanted: &[f64], bound: &[f64]) -> Result<(), Failed> {
        for (i, ((x, y), bound)) in self.read(tensor)?.iter().zip(wanted).zip(bound).enumerate() {
            // NaN exceeds everything.
            if (x - y).abs() > *bound || !x.is_finite() {
                return Err(format!("{name}[{i}]: {x} for {y}, error {:e} > {bound:e}", (x - y).abs()).into());
            }
        }
        if self.read(&self.apart)? != wide(&numbers(1, 9)) {
            return Err("what has no gradient moved".into());
        }
        Ok(())
    }
}

/// PyTorch's Adam over five steps, interrupted after two of them; weights without gradient go on by their momentum.
fn adam(device: &Device) -> Result<(), Failed> {
    let net = Net::new(device, 7)?;
    let (lr, [beta1, beta2], eps) = (0.03, [0.8, 0.99], 1e-5);
    let rule = Rule::Adam { lr, betas: [beta1, beta2], eps };
    let parameters = || vec![Parameter::whole("apart", &net.apart), Parameter::whole("weight", &net.weight)];
    let mut optimizer = Optimizer::new(device, rule, parameters())?;
    let mut p = net.read(&net.weight)?;
    let (mut m, mut v) = (vec![0.0; p.len()], vec![0.0; p.len()]);
    for step in 0..STEPS {
        if step == 2 {
            let state = block_on(optimizer.state())?;
            optimizer = Optimizer::new(device, rule, parameters())?;
            optimizer.restore(state)?;
        }
        let gradients = net.gradients(step)?;
        let g = net.read(gradients.of(&net.weight).ok_or("no gradient")?)?;
        let n = step as i32 + 1;
        for i in 0..p.len() {
            m[i] = beta1 * m[i] + (1.0 - beta1) * g[i];
            v[i] = beta2 * v[i] + (1.0 - beta2) * g[i] * g[i];
            let update = lr * (m[i] / (1.0 - beta1.powi(n))) / ((v[i] / (1.0 - beta2.powi(n))).sqrt() + eps);
            if i % net.cols == 1 && step % 2 == 1 && (g[i] != 0.0 || update == 0.0) {
                return Err(format!("step {step}: gradient {}, update {update}", g[i]).into());
            }
            p[i] -= update;
        }
        optimizer.step(&gradients, 1.0)?;
    }
    // A step rounds p, below 2, two times and moves it by little more than lr.
    net.meets("weight", &net.weight, &p, &vec![STEPS as f64 * EPS * (4.0 + 32.0 * lr); p.len()])
}

/// SGD with a bias at the full rate and weights at another one, rates that fall, and gradients clipped or not.
fn groups(device: &Device, most: Option<f64>) -> Result<(), Failed> {
    // More than one block of squares.
    let net = Net::new(device, 10_007)?;
    let (lr, momentum, weight_decay) = (0.4, 0.9, 0.02);
    let rate = 0.25;
    let parameters = vec![
        Parameter::whole("apart", &net.apart),
        Parameter { rate, ..Parameter::whole("weight", &net.weight) },
        Parameter::whole("bias", &net.bias),
    ];
    let mut optimizer = Optimizer::new(device, Rule::Sgd { lr, momentum, weight_decay }, parameters)?;
    if let Some(most) = most {
        optimizer = optimizer.clipped(most)?;
    }
    let schedule = Schedule::Steps { milestones: vec![2, 4], decay: 0.5 };
    // Numbers with their velocities, and the bounds of both.
    let start = |tensor: &Tensor| -> Result<Vec<[f64; 4]>> {
        Ok(net.read(tensor)?.into_iter().map(|p| [p, 0.0, 0.0, 0.0]).collect())
    };
    let mut trained = [(&net.weight, rate, start(&net.weight)?), (&net.bias, 1.0, start(&net.bias)?)];
    // Sums of at most a block, then of few blocks, whose error the root halves; the rest is that of the factor.
    let relative = EPS * (chain(1 << 14) / 4.0 + 12.0);
    for step in 0..STEPS {
        let gradients = net.gradients(step)?;
        let mut grads = Vec::new();
        for (tensor, ..) in &trained {
            grads.push(net.read(gradients.of(tensor).ok_or("no gradient")?)?);
        }
        let norm = grads.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
        let factor = most.map_or(1.0, |most| f64::min(1.0, most / (norm + 1e-6)));
        let scheduled = [1.0, 1.0, 0.5, 0.5, 0.25][step];
        for ((_, rate, numbers), grad) in trained.iter_mut().zip(&grads) {
            let lr = lr * *rate * scheduled;
            for ([p, v, p_bound, v_bound], g) in numbers.iter_mut().zip(grad) {
                let (g, decay) = (factor * g, weight_decay * *p);
                // Constants, products and sums round.
                let rounding = 3.0 * EPS * (g.abs() + decay.abs() + momentum * v.abs());
                *v = momentum * *v + g + decay;
                *v_bound = momentum * *v_bound + rounding + relative * g.abs() + weight_decay * *p_bound;
                *p -= lr * *v;
                *p_bound += lr * (*v_bound + 2.0 * EPS * v.abs()) + EPS * p.abs();
            }
        }
        optimizer.step(&gradients, schedule.factor(step, STEPS))?;
        match (block_on(optimizer.norm())?, most) {
            (None, None) => {}
            (Some(got), Some(most)) if (got - norm).abs() <= relative * norm => {
                // Either all steps are clipped, or none.
                if (most < 1.0) != (factor < 1.0) {
                    return Err(format!("factor {factor} of norm {norm}").into());
                }
            }
            (got, _) => return Err(format!("step {step}: norm {got:?} for {norm}").into()),
        }
    }
    for (name, (tensor, _, numbers)) in ["weight", "bias"].iter().zip(&trained) {
        let [wanted, bound] = [0, 2].map(|k| numbers.iter().map(|x| x[k]).collect::<Vec<_>>());
        net.meets(name, tensor, &wanted, &bound)?;
    }
    Ok(())
}

pub fn trials(devices: &[(String, Device)]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (label, device) in devices {
        let d = device.clone();
        trials.push(Trial::test(format!("optimizer: Adam, five steps [{label}]"), move || adam(&d)));
        for most in [None, Some(0.05), Some(1e3)] {
            let told = most.map_or("not clipped".into(), |most| format!("clipped at {most}"));
            let (name, d) = (format!("optimizer: SGD in groups, {told} [{label}]"), device.clone());
            trials.push(Trial::test(name, move || groups(&d, most)));
        }
    }
    trials
}
