//! Stochastic gradient descent: two steps on a part of the parameters, clipped or not; the rest must stay.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::sgd::Sgd;

use crate::add::SIZES;
use crate::harness::{Case, Output, case, guarded, input, numbers, output, random, wide};

const EPS: f64 = f32::EPSILON as f64;

/// Factor of clipped gradients.
pub const FACTOR: f32 = 0.375;

fn steps(device: &Device, n: usize, offset: usize, clipped: bool) -> Result<Vec<Output>> {
    let whole = offset + n + 5;
    let (mut naive, mut naive_velocity) = (wide(&numbers(1, whole)), wide(&numbers(2, n)));
    let param = guarded(device, &numbers(1, whole), &[whole])?;
    let velocity = guarded(device, &numbers(2, n), &[n])?;
    let factors = input(device, &[FACTOR, 7.0], &[2])?;
    let (clip, factor) = if clipped { (Some(&factors), f64::from(FACTOR)) } else { (None, 1.0) };
    let (lr, momentum, weight_decay) = (0.03, 0.9, 0.005);
    for seed in [3, 4] {
        let grad = random(device, seed, &[n])?;
        for (i, g) in numbers(seed, n).into_iter().enumerate() {
            let (p, v) = (&mut naive[offset + i], &mut naive_velocity[i]);
            *v = momentum * *v + (factor * f64::from(g) + weight_decay * *p);
            *p -= lr * *v;
        }
        let (param, grad, velocity) = (&param, &grad, &velocity);
        device.run(&Sgd { param, offset, grad, clip, velocity, lr, momentum, weight_decay })?;
    }
    // |velocity| grows to at most 1, 2, 3. A step rounds the constants (half an eps each) and every result: for the
    // velocity three results of its size and a clipped gradient, for param one of size 1.1 and two of size lr |velocity|.
    let v = EPS * (2.0 * 2.0 + 2.0 * 3.0 + if clipped { f64::from(FACTOR) } else { 0.0 });
    let p = EPS * (2.0 * 1.1 + lr * 2.0 * 5.0) + 2.0 * lr * v;
    let bound = (0..whole).map(|i| if (offset..offset + n).contains(&i) { p } else { f64::MIN_POSITIVE }).collect();
    Ok(vec![
        output("param", param, bound).naive(|| naive),
        output("velocity", velocity, vec![v]).naive(|| naive_velocity),
    ])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for n in &SIZES[..6] {
        for offset in [0, 7] {
            all.push(case(format!("sgd {n} at {offset}"), move |d| steps(d, *n, offset, false)));
        }
        all.push(case(format!("sgd {n} at 7, clipped"), move |d| steps(d, *n, 7, true)));
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    steps(device, 257, 7, false)?;
    steps(device, 257, 7, true).map(drop)
}
