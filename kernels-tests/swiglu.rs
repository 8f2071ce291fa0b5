//! The gate of SwiGLU.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::swiglu::SwiGlu;

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

fn gated(device: &Device, [rows, cols]: [usize; 2]) -> Result<Vec<Output>> {
    let u = gates(rows, cols);
    let pairs: Vec<_> = wide(&u)
        .chunks(2 * cols)
        .flat_map(|row| (0..cols).map(|i| (row[i], row[cols + i])).collect::<Vec<_>>())
        .collect();
    let naive: Vec<_> = pairs.iter().map(|(a, b)| a * sigmoid(*a) * b).collect();
    let rounding = |a: f64| sigmoid_rounding(a) + f64::from(f32::EPSILON);
    let bound = pairs.iter().zip(&naive).map(|((a, b), x)| rounding(*a) * x.abs() + underflow(a * b)).collect();
    let u = input(device, &u, &[rows, 2 * cols])?;
    let out = poisoned(device, &[rows, cols])?;
    device.run(&SwiGlu { u: &u, out: &out })?;
    Ok(vec![output("out", out, bound).naive(|| naive)])
}

pub fn cases() -> Vec<Case> {
    SIZES.map(|size| case(format!("swiglu {size:?}"), move |d| gated(d, size))).into()
}

pub fn examples(device: &Device) -> Result<()> {
    gated(device, SIZES[1]).map(drop)
}
