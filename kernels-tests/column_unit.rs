//! Powers of two above the entries of columns: exact ones, numbers next to them, none at all.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::column_unit::ColumnUnit;

use crate::harness::{Case, Output, case, input, numbers, output, poisoned};

/// Rows, the first of those that count, and columns: around the workgroup of 256.
const SIZES: [[usize; 3]; 6] = [[1, 0, 1], [5, 2, 255], [64, 0, 256], [70, 67, 257], [9, 3, 523], [4, 4, 3]];

fn units(device: &Device, [rows, start, cols]: [usize; 3]) -> Result<Vec<Output>> {
    let mut x = numbers(1, rows * cols);
    for (i, x) in x.iter_mut().enumerate() {
        let j = i % cols;
        *x = match j % 7 {
            0 => 0.0,
            1 => x.signum(),
            2 => f32::from_bits(0x3fff_ffff).copysign(*x),
            _ => *x * f32::powi(2.0, (j % 90) as i32 - 60),
        };
    }
    // Rows that do not count.
    x[..start * cols].fill(f32::NAN);
    let x = input(device, &x, &[rows, cols])?;
    let units = poisoned(device, &[2, cols])?;
    device.run(&ColumnUnit { x: &x, start, rows: rows - start, units: &units })?;
    Ok(vec![output("units", units, vec![1e-300])])
}

pub fn cases() -> Vec<Case> {
    SIZES.map(|size| case(format!("column_unit {size:?}"), move |d| units(d, size))).into()
}

pub fn examples(device: &Device) -> Result<()> {
    units(device, SIZES[1]).map(drop)
}
