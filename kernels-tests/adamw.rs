//! AdamW: its first two steps, or a late one, on a part of the parameters; the rest must stay.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::adamw::AdamW;

use crate::add::SIZES;
use crate::harness::{Case, Output, case, guarded, input, numbers, output};

const EPS: f64 = f32::EPSILON as f64;

fn steps(device: &Device, n: usize, offset: usize, first: u32) -> Result<Vec<Output>> {
    let whole = offset + n + 5;
    let p0 = numbers(1, whole);
    let m0: Vec<_> = numbers(2, n).iter().map(|m| if first == 1 { 0.0 } else { 0.1 * m }).collect();
    let v0: Vec<_> = numbers(3, n).iter().map(|v| if first == 1 { 0.0 } else { 0.1 * v * v }).collect();
    let param = guarded(device, &p0, &[whole])?;
    let (m, v) = (guarded(device, &m0, &[n])?, guarded(device, &v0, &[n])?);
    let (lr, beta1, beta2, eps, weight_decay) = (0.01, 0.9, 0.999, 1e-8, 0.05);
    let mut p_bound = vec![f64::MIN_POSITIVE; whole];
    let (mut m_bound, mut v_bound) = (vec![0.0; n], vec![0.0; n]);
    let mut state: Vec<_> = m0.iter().zip(&v0).map(|(m, v)| (f64::from(*m), f64::from(*v))).collect();
    for step in first..first + 2 {
        let g = numbers(10 + u64::from(step), n);
        let grad = input(device, &g, &[n])?;
        let kernel =
            AdamW { param: &param, offset, grad: &grad, m: &m, v: &v, lr, beta1, beta2, eps, weight_decay, step };
        let f = kernel.factors();
        for i in 0..n {
            let (g, (m, v)) = (f64::from(g[i]), &mut state[i]);
            // Each product has a rounded constant and rounds; so does the sum. v has no cancellation.
            m_bound[i] = beta1 * m_bound[i] + 2.0 * EPS * (beta1 * m.abs() + (1.0 - beta1) * g.abs());
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            v_bound[i] = beta2 * v_bound[i] + 3.0 * EPS * *v;
            // Square root and quotient are good to three units each; the error of v halves under the root.
            let root = f.spread * v.sqrt() + eps;
            let relative = 8.0 * EPS + if *v > 0.0 { 0.5 * v_bound[i] / *v } else { 0.0 };
            let update = f.rate * (m_bound[i] + relative * m.abs()) / root;
            // |param| stays below 1.1: a rounded constant, a product, a difference.
            p_bound[offset + i] += update + 2.0 * EPS * 1.1;
        }
        device.run(&kernel)?;
    }
    Ok(vec![output("param", param, p_bound), output("m", m, m_bound), output("v", v, v_bound)])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for n in &SIZES[..6] {
        for (offset, first) in [(0, 1), (7, 1), (7, 1000)] {
            all.push(case(format!("adamw {n} at {offset}, step {first}"), move |d| steps(d, *n, offset, first)));
        }
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    steps(device, 257, 7, 1).map(drop)
}
