//! Gradients of the gate of SwiGLU.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::swiglu_backward::SwiGluBackward;

use crate::harness::{Case, Output, case, input, numbers, output, poisoned, wide};
use crate::swiglu::{SIZES, gates, sigmoid, sigmoid_rounding, underflow};

/// Error of `size (s + a s (1 - s))`, s = sigmoid(a): that of each term, whose signs may differ, and their roundings.
pub fn silu_slope_bound(a: f64, size: f64) -> f64 {
    let (s, rest) = (sigmoid(a), sigmoid(-a));
    let eps = f64::from(f32::EPSILON);
    let first = s * (sigmoid_rounding(a) + 2.0 * eps);
    let second = (a * s * rest).abs() * (2.0 * sigmoid_rounding(a) + 3.0 * eps);
    size.abs() * (first + second) + underflow(a * size)
}

fn gradient(device: &Device, [rows, cols]: [usize; 2]) -> Result<Vec<Output>> {
    let (u, dy) = (gates(rows, cols), numbers(2, rows * cols));
    let (mut naive, mut bound) = (vec![0.0; u.len()], vec![0.0; u.len()]);
    for (i, dy) in wide(&dy).into_iter().enumerate() {
        let at = i / cols * 2 * cols + i % cols;
        let (a, b) = (f64::from(u[at]), f64::from(u[at + cols]));
        let s = sigmoid(a);
        naive[at] = dy * b * s * (1.0 + a * (1.0 - s));
        naive[at + cols] = dy * a * s;
        bound[at] = silu_slope_bound(a, dy * b);
        bound[at + cols] = (dy * a * s).abs() * (sigmoid_rounding(a) + f64::from(f32::EPSILON)) + underflow(a * dy);
    }
    let (u, dy) = (input(device, &u, &[rows, 2 * cols])?, input(device, &dy, &[rows, cols])?);
    let du = poisoned(device, &[rows, 2 * cols])?;
    device.run(&SwiGluBackward { u: &u, dy: &dy, du: &du })?;
    Ok(vec![output("du", du, bound).naive(|| naive)])
}

pub fn cases() -> Vec<Case> {
    SIZES.map(|size| case(format!("swiglu_backward {size:?}"), move |d| gradient(d, size))).into()
}

pub fn examples(device: &Device) -> Result<()> {
    gradient(device, SIZES[1]).map(drop)
}
