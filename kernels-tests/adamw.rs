//! AdamW: its first two steps, or a late one, on a part of the parameters, clipped or not; the rest must stay.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::adamw::AdamW;

use crate::add::SIZES;
use crate::harness::{Case, Output, canaries, case, guarded, input, numbers, output};
use crate::sgd::FACTOR;

const EPS: f64 = f32::EPSILON as f64;

fn steps(device: &Device, n: usize, offset: usize, first: u32, clipped: bool) -> Result<Vec<Output>> {
    let whole = offset + n + 5;
    let p0 = numbers(1, whole);
    let m0: Vec<_> = numbers(2, n).iter().map(|m| if first == 1 { 0.0 } else { 0.1 * m }).collect();
    let v0: Vec<_> = numbers(3, n).iter().map(|v| if first == 1 { 0.0 } else { 0.1 * v * v }).collect();
    let param = guarded(device, &p0, &[whole])?;
    let (m, v) = (guarded(device, &m0, &[n])?, guarded(device, &v0, &[n])?);
    let factors = input(device, &[FACTOR, 7.0], &[2])?;
    let (clip, factor) = if clipped { (Some(&factors), f64::from(FACTOR)) } else { (None, 1.0) };
    let (lr, beta1, beta2, eps, weight_decay) = (0.01, 0.9, 0.999, 1e-8, 0.05);
    let mut p_bound = vec![f64::MIN_POSITIVE; whole];
    let (mut m_bound, mut v_bound) = (vec![0.0; n], vec![0.0; n]);
    let mut state: Vec<_> = m0.iter().zip(&v0).map(|(m, v)| (f64::from(*m), f64::from(*v))).collect();
    for step in first..first + 2 {
        let g = numbers(10 + u64::from(step), n);
        let grad = input(device, &g, &[n])?;
        let (param, grad, m, v) = (&param, &grad, &m, &v);
        let kernel = AdamW { param, offset, grad, clip, m, v, lr, beta1, beta2, eps, weight_decay, step };
        let f = kernel.factors();
        for i in 0..n {
            let (g, (m, v)) = (factor * f64::from(g[i]), &mut state[i]);
            // Each product has a rounded constant and rounds; so do the sum and what is clipped. v has no cancellation.
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

/// Printed by scripts/adamw-numbers, with PyTorch 1.12.1.
const PYTORCH: [[f64; 6]; 9] = [
    // Step 1: param, m, v.
    [0.48975000032000005, -0.23987500127999986, 0.9995, -0.7528021412081376, 0.12548755896350458, 1.98900000002],
    [
        0.031249999999999993,
        -0.007812499999999998,
        0.0,
        4.6566128730773915e-10,
        -5.8207660913467394e-11,
        0.4999999999999999,
    ],
    [
        9.765625000000009e-05,
        6.103515625000005e-06,
        0.0,
        2.1684043449710108e-20,
        3.3881317890172044e-22,
        0.025000000000000022,
    ],
    // Step 2: param, m, v.
    [
        0.480519373651745,
        -0.23076931324416133,
        0.9990002500000001,
        -0.7547778495782215,
        0.12580617562088184,
        1.9790197479978648,
    ],
    [
        0.040624999999999994,
        -0.010156249999999999,
        0.0,
        6.05359673500061e-10,
        -7.566995918750762e-11,
        0.6499999999999999,
    ],
    [
        0.0001131835937500001,
        7.073974609375006e-06,
        0.0,
        2.5131806358214014e-20,
        3.92684474347094e-22,
        0.028975000000000025,
    ],
    // Step 5: param, m, v.
    [
        0.47756637842663663,
        -0.22819075632018637,
        0.9975024987503127,
        -0.7539286574582383,
        0.12564969534609033,
        1.9738201257455028,
    ],
    [
        -0.04169687499999999,
        0.010424218749999997,
        0.0,
        -6.213318556547163e-10,
        7.766648195683954e-11,
        -0.6671499999999998,
    ],
    [
        0.000370586573812598,
        2.3161660863287373e-05,
        0.0,
        8.228674937273927e-20,
        1.2857304589490511e-21,
        0.09487016289602508,
    ],
];

/// Five steps, the twin judged by PyTorch.
fn pytorch(device: &Device) -> Result<Vec<Output>> {
    let param = guarded(device, &[0.5, -0.25, 1.0, -0.75, 0.125, 2.0], &[6])?;
    let (m, v) = (guarded(device, &[0.0; 6], &[6])?, guarded(device, &[0.0; 6], &[6])?);
    let gradients = [0.5, -0.125, 0.0, f32::powi(2.0, -27), -f32::powi(2.0, -30), 8.0];
    let (lr, beta1, beta2, eps, weight_decay) = (0.01, 0.9, 0.999, 1e-8, 0.05);
    let mut all = Vec::new();
    for step in 1..=5 {
        let grad = input(device, &gradients.map(|g| g * (1.0 - 0.375 * step as f32)), &[6])?;
        let (param, grad, m, v, clip) = (&param, &grad, &m, &v, None);
        device.run(&AdamW { param, offset: 0, grad, clip, m, v, lr, beta1, beta2, eps, weight_decay, step })?;
        let Some(at) = [1, 2, 5].iter().position(|&told| told == step) else { continue };
        // A step rounds param, at most 2, two times and moves it by little more than lr, m is below the gradient.
        let bounds = [
            [f64::from(step) * EPS * (4.0 + 32.0 * lr); 6],
            gradients.map(|g| f64::from(step) * 2.0 * EPS * f64::from(g.abs()) + f64::MIN_POSITIVE),
            PYTORCH[3 * at + 2].map(|v| f64::from(step) * 4.0 * EPS * v + f64::MIN_POSITIVE),
        ];
        for (i, (name, tensor)) in [("param", param), ("m", m), ("v", v)].into_iter().enumerate() {
            let values: Vec<f64> = pollster::block_on(device.read(tensor))?;
            let copy = device.upload(&values, &[6])?;
            all.push(output(name, copy, bounds[i].to_vec()).naive(move || PYTORCH[3 * at + i].to_vec()));
        }
    }
    all.extend([("param", param), ("m", m), ("v", v)].map(|(name, tensor)| canaries(name, tensor)));
    Ok(all)
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![case("adamw as PyTorch".into(), pytorch)];
    for n in &SIZES[..6] {
        for (offset, first) in [(0, 1), (7, 1), (7, 1000)] {
            let name = format!("adamw {n} at {offset}, step {first}");
            all.push(case(name, move |d| steps(d, *n, offset, first, false)));
        }
        all.push(case(format!("adamw {n} at 7, step 1, clipped"), move |d| steps(d, *n, 7, 1, true)));
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    steps(device, 257, 7, 1, false)?;
    steps(device, 257, 7, 1, true).map(drop)
}
