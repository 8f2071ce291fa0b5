//! Rows of length one, from rows of all sizes: also zeros, and such as are shorter than the least norm.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::row_unit::{LEAST, RowUnit};

use crate::harness::{Case, Output, case, input, numbers, output, poisoned};
use crate::layernorm::{SIZES, depth};

const EPS: f64 = f32::EPSILON as f64;

/// Rows of several sizes, the second zero, the fourth shorter than the least norm, and so on.
pub fn data([rows, cols]: [usize; 2]) -> Vec<f32> {
    let size = |i: usize| [1.0f32, 0.0, 1e15, 1e-14, 1e-9][i / cols % 5];
    numbers(1, rows * cols).into_iter().enumerate().map(|(i, x)| size(i) * x).collect()
}

/// What a row is divided by.
pub fn norm(row: &[f32]) -> f64 {
    row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(LEAST)
}

fn units(device: &Device, [rows, cols]: [usize; 2], kept: bool) -> Result<Vec<Output>> {
    let x = data([rows, cols]);
    // Squares and a sum of this depth, of whose relative error the root halves; it adds three units of its own.
    let relative = EPS * (depth(cols) / 4.0 + 3.5);
    let (mut naive, mut bound) = (Vec::new(), Vec::new());
    let (mut naive_norms, mut norms_bound) = (Vec::new(), Vec::new());
    for row in x.chunks_exact(cols) {
        let norm = norm(row);
        naive_norms.push(norm);
        norms_bound.push(norm * relative);
        for x in row {
            let y = f64::from(*x) / norm;
            naive.push(y);
            // A quotient (three units) and a product.
            bound.push(f64::MIN_POSITIVE + y.abs() * (relative + 4.0 * EPS));
        }
    }
    let (x, y) = (input(device, &x, &[rows, cols])?, poisoned(device, &[rows, cols])?);
    let norms = poisoned(device, &[rows])?;
    device.run(&RowUnit { x: &x, y: &y, norms: kept.then_some(&norms) })?;
    let mut outputs = vec![output("y", y, bound).naive(|| naive)];
    if kept {
        outputs.push(output("norms", norms, norms_bound).naive(|| naive_norms));
    }
    Ok(outputs)
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for size in SIZES.into_iter().chain([[5, 96], [0, 5]]) {
        all.push(case(format!("row_unit {size:?}"), move |d| units(d, size, false)));
        all.push(case(format!("row_unit {size:?} with norms"), move |d| units(d, size, true)));
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    for cols in [7, 1031] {
        units(device, [3, cols], false)?;
        units(device, [3, cols], true)?;
    }
    Ok(())
}
