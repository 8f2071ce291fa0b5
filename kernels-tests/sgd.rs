//! Stochastic gradient descent: two steps on a part of the parameters; the rest must stay.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::sgd::Sgd;

use crate::add::SIZES;
use crate::harness::{Case, Output, case, guarded, numbers, output, random, wide};

const EPS: f64 = f32::EPSILON as f64;

fn steps(device: &Device, n: usize, offset: usize) -> Result<Vec<Output>> {
    let whole = offset + n + 5;
    let (mut naive, mut naive_velocity) = (wide(&numbers(1, whole)), wide(&numbers(2, n)));
    let param = guarded(device, &numbers(1, whole), &[whole])?;
    let velocity = guarded(device, &numbers(2, n), &[n])?;
    let (lr, momentum, weight_decay) = (0.03, 0.9, 0.005);
    for seed in [3, 4] {
        let grad = random(device, seed, &[n])?;
        for (i, g) in numbers(seed, n).into_iter().enumerate() {
            let (p, v) = (&mut naive[offset + i], &mut naive_velocity[i]);
            *v = momentum * *v + (f64::from(g) + weight_decay * *p);
            *p -= lr * *v;
        }
        device.run(&Sgd { param: &param, offset, grad: &grad, velocity: &velocity, lr, momentum, weight_decay })?;
    }
    // |velocity| grows to at most 1, 2, 3. A step rounds the constants (half an eps each) and every result: for the
    // velocity three results of its size, for param one of size 1.1 and two of size lr |velocity|.
    let v = EPS * (2.0 * 2.0 + 2.0 * 3.0);
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
            all.push(case(format!("sgd {n} at {offset}"), move |d| steps(d, *n, offset)));
        }
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    steps(device, 257, 7).map(drop)
}
