//! Largest element of each row; ties go to the lowest index.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::argmax::ArgMax;

use crate::harness::{Case, Output, case, numbers};
use crate::layernorm::SIZES;

/// `levels` different values: few make ties in every row.
fn largest(device: &Device, [rows, cols]: [usize; 2], levels: f32) -> Result<Vec<Output>> {
    let x: Vec<_> = numbers(1, rows * cols).iter().map(|x| (x * levels).round() - levels).collect();
    let x = device.upload(&x, &[rows, cols])?;
    let out = device.upload_u32(&vec![u32::MAX; rows], &[rows])?;
    device.run(&ArgMax { x: &x, out: &out })?;
    Ok(vec![Output { name: "out", tensor: out, bound: vec![0.5] }])
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
