//! Products with tiles of a scaled symmetric matrix: their error, relative to the largest product, is far below single
//! precision.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::pair_product::PairProduct;
use pollster::block_on;

use crate::harness::{
    Case, FEW_GROUPS, OWN_AND_GPU, Output, Plans, canaries, case, guarded, input, numbers, output, run_as,
};

/// Rows of x, the tile's first row and rows, first column and columns; the matrix has 250.
const CASES: [[usize; 5]; 8] = [
    [1, 0, 1, 0, 1],
    [31, 0, 64, 0, 64],
    [32, 64, 65, 0, 63],
    [33, 100, 150, 0, 100],
    [65, 96, 154, 96, 154],
    [10, 128, 96, 32, 96],
    [40, 249, 1, 100, 149],
    [3, 192, 16, 0, 192],
];

/// `(high + low) / scale of the row - want` in units of the largest products' sum.
fn error(
    device: &Device,
    [rows, row0, height, col0, width]: [usize; 5],
    transposed: bool,
    plans: Plans,
) -> Result<Vec<Output>> {
    let m = 250;
    // Numbers of 18 bits below 2^9.
    let short = |x: f32| (x * 262_144.0).round() / 512.0;
    let x: Vec<f32> = numbers(1, rows * m).into_iter().map(short).collect();
    // Mostly positive, as a Gram matrix of ReLU features; entries below 2 after scaling.
    let powers: Vec<f32> = (0..m).map(|i| f32::powi(2.0, (i * 5 % 9) as i32 - 4)).collect();
    let n = height * width;
    let mut tile = numbers(2, 2 * n);
    for (i, g) in tile.iter_mut().enumerate() {
        let (row, col) = (row0 + i % n / width, col0 + i % width);
        *g = (*g + 0.9) / (powers[row] * powers[col]) * if i < n { 1.0 } else { 2e-8 };
    }
    let diagonal: Vec<f32> = (0..2 * m).map(|i| if i < m { 1.0 + i as f32 / m as f32 } else { 3e-8 }).collect();
    let before: Vec<f32> = numbers(4, 2 * rows * m)
        .into_iter()
        .enumerate()
        .map(|(i, y)| if i < rows * m { y } else { y * 1e-9 })
        .collect();
    let tensors = (
        input(device, &x, &[rows, m])?,
        input(device, &tile, &[2, height, width])?,
        input(device, &powers, &[m])?,
        input(device, &diagonal, &[2, m])?,
    );
    let y = guarded(device, &before, &[2, rows, m])?;
    let (x_t, tile_t, scale, diagonal_t) = (&tensors.0, &tensors.1, &tensors.2, &tensors.3);
    let kernel = PairProduct { x: x_t, tile: tile_t, row0, col0, scale, diagonal: diagonal_t, transposed, y: &y };
    run_as(device, kernel, &plans.1(device))?;
    let got: Vec<f64> = block_on(device.read(&y))?;
    let entry = |i: usize, j: usize| {
        let at = i * width + j;
        let (row, col) = (row0 + i, col0 + j);
        if row == col {
            f64::from(diagonal[row]) + f64::from(diagonal[m + row])
        } else {
            (f64::from(tile[at]) + f64::from(tile[n + at])) * f64::from(powers[row]) * f64::from(powers[col])
        }
    };
    let mut errors = Vec::new();
    for c in 0..rows {
        for to in 0..m {
            let at = c * m + to;
            let mut want = f64::from(before[at]) + f64::from(before[rows * m + at]);
            let mut add = |from: usize, a: f64| want += f64::from(x[c * m + from]) * a;
            if transposed && (row0..row0 + height).contains(&to) {
                (0..width).for_each(|j| add(col0 + j, entry(to - row0, j)));
            }
            if !transposed && (col0..col0 + width).contains(&to) {
                (0..height).for_each(|i| add(row0 + i, entry(i, to - col0)));
            }
            errors.push(got[at] + got[rows * m + at] - want);
        }
    }
    // Entries of x below 2^9 and of A below 2: four deviations of what the doc comment states, and a pair's own rounding.
    let bound = vec![1024.0 * (8.0 * f64::powi(2.0, -39) + 200.0 * f64::powi(2.0, -46))];
    Ok(vec![output("error", device.upload(&errors, &[rows, m])?, bound).differences_of(512.0), canaries("y", y)])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for place in CASES {
        for (transposed, plans) in [false, true].into_iter().flat_map(|t| OWN_AND_GPU.map(|p| (t, p))) {
            let diagonal = place[1] == place[3];
            if transposed && diagonal {
                continue;
            }
            let what = if transposed { " transposed" } else { "" };
            let name = format!("pair_product {place:?}{what}{}", plans.0);
            all.push(case(name, move |d| error(d, place, transposed, plans)));
        }
    }
    for plans in FEW_GROUPS {
        // 7 x 4 parts of 32 x 64, 13 x 16 of 16 x 16.
        let place = [200, 10, 20, 0, 250];
        all.push(case(format!("pair_product {place:?}{}", plans.0), move |d| error(d, place, false, plans)));
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    for transposed in [false, true] {
        error(device, CASES[3], transposed, OWN_AND_GPU[0])?;
    }
    Ok(())
}
