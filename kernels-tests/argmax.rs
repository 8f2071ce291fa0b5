//! Largest element of each row; ties go to the lowest index.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::argmax::ArgMax;

use crate::harness::{Case, Output, case, input, numbers, output, poisoned_u32};
use crate::layernorm::SIZES;

/// `levels` different values: few make ties in every row.
fn largest(device: &Device, [rows, cols]: [usize; 2], levels: f32) -> Result<Vec<Output>> {
    let x: Vec<_> = numbers(1, rows * cols).iter().map(|x| (x * levels).round() - levels).collect();
    let naive = {
        let x = x.clone();
        move || {
            x.chunks(cols)
                .map(|row| (0..cols).fold(0, |best, j| if row[j] > row[best] { j } else { best }) as f64)
                .collect()
        }
    };
    let x = input(device, &x, &[rows, cols])?;
    let out = poisoned_u32(device, &[rows])?;
    device.run(&ArgMax { x: &x, out: &out })?;
    Ok(vec![output("out", out, vec![0.0]).naive(naive)])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for size in SIZES {
        all.push(case(format!("argmax {size:?}"), move |d| largest(d, size, 1e6)));
        all.push(case(format!("argmax {size:?} with ties"), move |d| largest(d, size, 1.0)));
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    largest(device, [3, 7], 1.0)?;
    largest(device, [3, 1031], 1.0).map(drop)
}
