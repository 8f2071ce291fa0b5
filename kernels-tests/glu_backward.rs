//! Gradients of the gate of SwiGLU and GEGLU.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::glu::Gate;
use minoise::kernels::glu_backward::GluBackward;

use crate::activation_backward::gelu_bound;
use crate::glu::{GATES, SIZES, gate_bound, gate_with_slope, gates, sigmoid, sigmoid_rounding, underflow};
use crate::harness::{Case, Output, case, input, numbers, output, poisoned, wide};

/// Error of `size (s + a s (1 - s))`, s = sigmoid(a): that of each term, whose signs may differ, and their roundings.
pub fn silu_slope_bound(a: f64, size: f64) -> f64 {
    let (s, rest) = (sigmoid(a), sigmoid(-a));
    let eps = f64::from(f32::EPSILON);
    let first = s * (sigmoid_rounding(a) + 2.0 * eps);
    let second = (a * s * rest).abs() * (2.0 * sigmoid_rounding(a) + 3.0 * eps);
    size.abs() * (first + second) + underflow(a * size)
}

fn gradient(device: &Device, gate: Gate, [rows, cols]: [usize; 2]) -> Result<Vec<Output>> {
    let (u, dy) = (gates(rows, cols), numbers(2, rows * cols));
    let (mut naive, mut bound) = (vec![0.0; u.len()], vec![0.0; u.len()]);
    for (i, dy) in wide(&dy).into_iter().enumerate() {
        let at = i / cols * 2 * cols + i % cols;
        let (a, b) = (f64::from(u[at]), f64::from(u[at + cols]));
        let (value, slope) = gate_with_slope(gate, a);
        (naive[at], naive[at + cols]) = (dy * b * slope, dy * value);
        let eps = f64::from(f32::EPSILON);
        bound[at] = match gate {
            Gate::Silu => silu_slope_bound(a, dy * b),
            Gate::Gelu => gelu_bound(a, dy * b) + 2.0 * eps * naive[at].abs(),
        };
        bound[at + cols] = dy.abs() * gate_bound(gate, a) + eps * naive[at + cols].abs();
    }
    let (u, dy) = (input(device, &u, &[rows, 2 * cols])?, input(device, &dy, &[rows, cols])?);
    let du = poisoned(device, &[rows, 2 * cols])?;
    device.run(&GluBackward { gate, u: &u, dy: &dy, du: &du })?;
    Ok(vec![output("du", du, bound).naive(|| naive)])
}

pub fn cases() -> Vec<Case> {
    let all = GATES.into_iter().flat_map(|gate| SIZES.map(|size| (gate, size)));
    all.map(|(gate, size)| case(format!("glu_backward {gate:?} {size:?}"), move |d| gradient(d, gate, size))).collect()
}

pub fn examples(device: &Device) -> Result<()> {
    GATES.into_iter().try_for_each(|gate| gradient(device, gate, SIZES[1]).map(drop))
}
