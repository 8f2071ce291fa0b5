//! Sums of rows by label, with labels that never and labels that often occur.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::label_sum::LabelSum;

use crate::harness::{Case, Output, case, guarded, numbers};

/// Rows, classes, columns: around the workgroup of 256, and the column blocks of the twin (1024).
const SIZES: [[usize; 3]; 6] = [[1, 1, 1], [5, 3, 255], [64, 7, 256], [67, 10, 257], [31, 2, 2051], [0, 2, 5]];

fn sums(device: &Device, [rows, classes, cols]: [usize; 3]) -> Result<Vec<Output>> {
    let (p, q) = (numbers(1, rows * cols), numbers(2, classes * cols));
    // The last of several classes stays empty.
    let labels: Vec<_> = (0..rows).map(|b| (b * b % classes.saturating_sub(1).max(1)) as u32).collect();
    let mut size: Vec<_> = q.iter().map(|q| f64::from(q.abs())).collect();
    for (i, p) in p.iter().enumerate() {
        size[labels[i / cols] as usize * cols + i % cols] += f64::from(p.abs());
    }
    let tensors = (device.upload(&p, &[rows, cols])?, device.upload_u32(&labels, &[rows])?);
    let q = guarded(device, &q, &[classes, cols])?;
    device.run(&LabelSum::new(&tensors.0, &tensors.1, &q)?)?;
    let bound = size.iter().map(|s| (rows + 1) as f64 * f64::from(f32::EPSILON) / 2.0 * s).collect();
    Ok(vec![Output { name: "q", tensor: q, bound }])
}

pub fn cases() -> Vec<Case> {
    SIZES.map(|size| case(format!("label_sum {size:?}"), move |d| sums(d, size))).into()
}

pub fn examples(device: &Device) -> Result<()> {
    sums(device, SIZES[1]).map(drop)
}
