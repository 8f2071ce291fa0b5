//! Columns times numbers of their own.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::scale_columns::ScaleColumns;

use crate::harness::{Case, Output, case, output, poisoned, random};

const SIZES: [[usize; 2]; 5] = [[1, 1], [3, 85], [2, 128], [257, 3], [0, 4]];

fn scaled(device: &Device, [rows, cols]: [usize; 2]) -> Result<Vec<Output>> {
    let (x, scale) = (random(device, 1, &[rows, cols])?, random(device, 2, &[cols])?);
    let y = poisoned(device, &[rows, cols])?;
    device.run(&ScaleColumns { x: &x, scale: &scale, y: &y })?;
    Ok(vec![output("y", y, vec![f64::from(f32::EPSILON)])])
}

pub fn cases() -> Vec<Case> {
    SIZES.map(|size| case(format!("scale_columns {size:?}"), move |d| scaled(d, size))).into()
}

pub fn examples(device: &Device) -> Result<()> {
    scaled(device, SIZES[1]).map(drop)
}
