//! The gate of SwiGLU and GEGLU.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::glu::{Gate, Glu};

use crate::harness::{Case, Output, case, input, numbers, output, poisoned, wide};

/// Rows and gated columns.
pub const SIZES: [[usize; 2]; 6] = [[1, 1], [3, 85], [2, 128], [257, 3], [13, 160], [0, 4]];

/// Values from -6 to 6, where the gate bends and where it is straight; two behind the ends of its exponential.
pub fn gates(rows: usize, cols: usize) -> Vec<f32> {
    let mut u: Vec<_> = numbers(1, rows * 2 * cols).iter().map(|x| 6.0 * x).collect();
    if rows * cols > 2 {
        (u[1], u[2]) = (-100.0, 100.0);
    }
    u
}

pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Relative error of sigmoid(x): that of the exponential (on a GPU 3 + 2 |x| units), a sum, a division (2.5 units).
pub fn sigmoid_rounding(x: f64) -> f64 {
    (3.0 + 2.0 * x.abs() + 4.0) * f64::from(f32::EPSILON)
}

/// What an exponential below the normal numbers may be off by, in products with numbers of size `x`.
pub fn underflow(x: f64) -> f64 {
    4.0 * f64::from(f32::MIN_POSITIVE) * (1.0 + x.abs())
}

/// gate(a) and gate'(a) by plain functions.
pub fn gate_with_slope(gate: Gate, a: f64) -> (f64, f64) {
    match gate {
        Gate::Silu => (a * sigmoid(a), sigmoid(a) * (1.0 + a * (1.0 - sigmoid(a)))),
        Gate::Gelu => {
            let (cdf, density) = (0.5 * libm::erfc(-a * FRAC_1_SQRT_2), (-0.5 * a * a).exp() / TAU.sqrt());
            (a * cdf, cdf + a * density)
        }
    }
}

/// Error of gate(a), of which GELU's Phi is off by that of erf (3e-7 / 2, see `activation_backward.rs`) and two roundings.
pub fn gate_bound(gate: Gate, a: f64) -> f64 {
    let eps = f64::from(f32::EPSILON);
    match gate {
        Gate::Silu => gate_with_slope(gate, a).0.abs() * (sigmoid_rounding(a) + eps) + underflow(a),
        Gate::Gelu => 4.0 * eps * a.abs(),
    }
}

fn gated(device: &Device, gate: Gate, [rows, cols]: [usize; 2]) -> Result<Vec<Output>> {
    let u = gates(rows, cols);
    let pairs: Vec<_> = wide(&u)
        .chunks(2 * cols)
        .flat_map(|row| (0..cols).map(|i| (row[i], row[cols + i])).collect::<Vec<_>>())
        .collect();
    let naive: Vec<_> = pairs.iter().map(|(a, b)| gate_with_slope(gate, *a).0 * b).collect();
    let rounding = f64::from(f32::EPSILON);
    let bound =
        pairs.iter().zip(&naive).map(|((a, b), x)| gate_bound(gate, *a) * b.abs() + rounding * x.abs()).collect();
    let u = input(device, &u, &[rows, 2 * cols])?;
    let out = poisoned(device, &[rows, cols])?;
    device.run(&Glu { gate, u: &u, out: &out })?;
    Ok(vec![output("out", out, bound).naive(|| naive)])
}

pub const GATES: [Gate; 2] = [Gate::Silu, Gate::Gelu];

pub fn cases() -> Vec<Case> {
    let all = GATES.into_iter().flat_map(|gate| SIZES.map(|size| (gate, size)));
    all.map(|(gate, size)| case(format!("glu {gate:?} {size:?}"), move |d| gated(d, gate, size))).collect()
}

pub fn examples(device: &Device) -> Result<()> {
    GATES.into_iter().try_for_each(|gate| gated(device, gate, SIZES[1]).map(drop))
}
