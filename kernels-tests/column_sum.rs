//! Column sums: whole tensors, parts of them, products with a normalised input.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::column_sum::ColumnSum;

use crate::harness::{
    Case, FEW_GROUPS, OWN_AND_GPU, Output, Plans, case, guarded, input, numbers, output, poisoned, run_as, wide,
};

const EPS: f64 = f32::EPSILON as f64;

/// Rows, columns: around 4 and 16 lanes a column, the 256 rows where one changes to the other, 16 columns a group.
const SIZES: [[usize; 2]; 8] = [[1, 1], [3, 15], [4, 16], [5, 17], [255, 33], [256, 67], [1031, 7], [300, 128]];

fn whole(device: &Device, [rows, cols]: [usize; 2], plans: Plans) -> Result<Vec<Output>> {
    let x = numbers(1, rows * cols);
    let bound = (0..cols).map(|j| (rows + 1) as f64 * EPS / 2.0 * column(&x, j, cols, |x, _| x)).collect();
    let naive = (0..cols).map(|j| (0..rows).map(|r| f64::from(x[r * cols + j])).sum()).collect();
    let x = input(device, &x, &[rows, cols])?;
    let out = poisoned(device, &[cols])?;
    run_as(device, ColumnSum::of(&x, &out), &plans.1(device))?;
    Ok(vec![output("out", out, bound).naive(|| naive)])
}

/// `sum_r |term(x[r][j], r)|`.
fn column(x: &[f32], j: usize, ld: usize, term: impl Fn(f64, usize) -> f64) -> f64 {
    x.iter().skip(j).step_by(ld).enumerate().map(|(r, x)| term((*x).into(), r).abs()).sum()
}

/// Offsets on both sides, a stride wider than the matrix, a scale, accumulation, with and without normalisation.
fn part(device: &Device, [rows, cols]: [usize; 2], normalised: bool) -> Result<Vec<Output>> {
    let (x_offset, x_ld, out_offset, scale) = (5, cols + 3, 2, 0.375);
    // NaN around the matrix and between its rows.
    let mut x = vec![f32::NAN; x_offset + rows * x_ld];
    for (i, value) in numbers(1, rows * cols).into_iter().enumerate() {
        x[x_offset + i / cols * x_ld + i % cols] = value;
    }
    let (z, stats) = (numbers(2, rows * cols), numbers(3, rows * 2));
    let before = numbers(4, out_offset + cols + 1);
    let mut bound = vec![f64::MIN_POSITIVE; before.len()];
    let mut naive = wide(&before);
    for j in 0..cols {
        let term = |x: f64, r: usize| {
            let xhat = (f64::from(z[r * cols + j]) - f64::from(stats[2 * r])) * f64::from(stats[2 * r + 1]);
            if normalised { x * xhat } else { x }
        };
        let size = column(&x[x_offset..], j, x_ld, term);
        naive[out_offset + j] += scale * (0..rows).map(|r| term(x[x_offset + r * x_ld + j].into(), r)).sum::<f64>();
        // A term rounds up to three times, the sum once for every row; then the scale and the old value.
        let error = EPS / 2.0 * ((rows + 5) as f64 * scale * size + 2.0 * f64::from(before[j + out_offset].abs()));
        bound[out_offset + j] = error;
    }
    let len = x.len();
    let x = input(device, &x, &[len])?;
    let (z, stats) = (input(device, &z, &[rows, cols])?, input(device, &stats, &[rows, 2])?);
    let out = guarded(device, &before, &[before.len()])?;
    device.run(&ColumnSum {
        x: &x,
        x_offset,
        x_ld,
        rows,
        cols,
        out: &out,
        out_offset,
        normalised: normalised.then_some((&z, &stats)),
        scale,
        accumulate: true,
    })?;
    Ok(vec![output("out", out, bound).naive(|| naive)])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for size in SIZES {
        all.push(case(format!("column_sum {size:?}"), move |d| whole(d, size, OWN_AND_GPU[0])));
        all.push(case(format!("column_sum {size:?} part"), move |d| part(d, size, false)));
        all.push(case(format!("column_sum {size:?} part, normalised"), move |d| part(d, size, true)));
    }
    // 22 groups where 20 are allowed, and more than any GPU takes in one dimension.
    for (cols, plans) in [(343, FEW_GROUPS[0]), (16 * 65_536 + 5, OWN_AND_GPU[0])] {
        all.push(case(format!("column_sum [3, {cols}]{}", plans.0), move |d| whole(d, [3, cols], plans)));
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    for rows in [3, 300] {
        part(device, [rows, 17], false)?;
        part(device, [rows, 17], true)?;
    }
    Ok(())
}
