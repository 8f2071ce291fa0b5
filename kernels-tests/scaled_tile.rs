//! Scaled tiles on the diagonal and off it.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::scaled_tile::ScaledTile;

use crate::harness::{Case, Output, case, input, numbers, output, poisoned, random};

/// Rows, columns and place of the tile in a matrix of 600.
const CASES: [[usize; 4]; 5] = [[1, 1, 0, 0], [16, 17, 33, 5], [64, 64, 64, 64], [100, 100, 500, 500], [88, 96, 96, 0]];

fn tile(device: &Device, [rows, cols, row0, col0]: [usize; 4]) -> Result<Vec<Output>> {
    let m = 600;
    let g = random(device, 1, &[2, rows, cols])?;
    let powers: Vec<f32> = numbers(2, m).iter().map(|x| f32::powi(2.0, (8.0 * x) as i32)).collect();
    // NaN where the tile has neither a row nor a column.
    let used = |i: usize| (row0..row0 + rows).contains(&i) || (col0..col0 + cols).contains(&i);
    let around = |x: Vec<f32>| -> Vec<f32> {
        x.into_iter().enumerate().map(|(i, x)| if used(i % m) { x } else { f32::NAN }).collect()
    };
    let scale = input(device, &around(powers), &[m])?;
    let diagonal = input(device, &around(numbers(3, 2 * m)), &[2, m])?;
    let f = poisoned(device, &[rows, cols])?;
    let kernel = ScaledTile { tile: &g, scale: &scale, diagonal: &diagonal, row0, col0, shift: 0.25, f: &f };
    device.run(&kernel)?;
    // Powers of two round nothing, and the shifted diagonal once.
    Ok(vec![output("f", f, vec![f64::from(f32::EPSILON)])])
}

pub fn cases() -> Vec<Case> {
    CASES.map(|place| case(format!("scaled_tile {place:?}"), move |d| tile(d, place))).into()
}

pub fn examples(device: &Device) -> Result<()> {
    tile(device, CASES[1]).map(drop)
}
