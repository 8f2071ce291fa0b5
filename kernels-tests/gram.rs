//! Tiles of a Gram matrix against sums in f64: their error is measured in units of sqrt(G_ii G_jj).

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::column_unit::ColumnUnit;
use minoise::kernels::gram::{Gram, SAMPLES};
use pollster::block_on;

use crate::harness::{
    Case, FEW_GROUPS, OWN_AND_GPU, Output, Plans, canaries, case, guarded, input, numbers, output, run_as,
};

/// What the doc comment of the kernel states, with outliers and without.
const BOUNDS: [f64; 2] = [2e-9, 6e-10];

/// First feature of the rows and of the columns of a tile, and how many there are.
type Place = [usize; 4];

/// Features as ReLU makes them, of sizes that differ by column, with outliers or without.
fn features(samples: usize, m: usize, outliers: bool) -> Vec<f32> {
    let mut p = numbers(3, samples * m);
    for (i, x) in p.iter_mut().enumerate() {
        let column = i % m;
        *x = x.max(0.0) * f32::powf(1.7, (column % 13) as f32 - 6.0);
        if outliers && i % 1009 == 5 {
            *x *= 300.0;
        }
    }
    p
}

/// `high + low - (before + x^T x)` in units of sqrt(G_ii G_jj), after the batch was added in dispatches of at most `step`.
fn error(
    device: &Device,
    m: usize,
    samples: usize,
    step: usize,
    place: Place,
    outliers: bool,
    plans: Plans,
) -> Result<Vec<Output>> {
    let [row0, rows, col0, cols] = place;
    let offset = 3;
    let mut p = features(samples + offset, m, outliers);
    p[..offset * m].fill(f32::NAN);
    // What was there before is small beside a batch, and symmetric where the tile is on the diagonal.
    let before: Vec<f32> =
        (0..rows * cols).map(|i| 1e-3 * ((i / cols + row0) * (i % cols + col0) % 97) as f32).collect();
    let pairs: Vec<f32> = before.iter().copied().chain(before.iter().map(|x| x * 1e-9)).collect();
    let tensor = input(device, &p, &[samples + offset, m])?;
    let (units, tile) = (device.reals(&[2, m])?, guarded(device, &pairs, &[2, rows, cols])?);
    for start in (0..samples).step_by(step) {
        let count = step.min(samples - start);
        let start = start + offset;
        device.run(&ColumnUnit { x: &tensor, start, rows: count, units: &units })?;
        let gram = Gram { p: &tensor, start, samples: count, units: &units, tile: &tile, row0, col0 };
        run_as(device, gram, &plans.1(device))?;
    }
    let got: Vec<f64> = block_on(device.read(&tile))?;
    let p: Vec<f64> = p.iter().skip(offset * m).map(|&x| x.into()).collect();
    let dot = |i: usize, j: usize| p.chunks(m).map(|x| x[i] * x[j]).sum::<f64>();
    let length = |i: usize| dot(i, i).sqrt();
    let (a, b): (Vec<_>, Vec<_>) =
        ((row0..row0 + rows).map(length).collect(), (col0..col0 + cols).map(length).collect());
    let mut errors = Vec::new();
    for i in 0..rows {
        for j in 0..cols {
            let at = i * cols + j;
            let want = f64::from(pairs[at]) + f64::from(pairs[rows * cols + at]) + dot(row0 + i, col0 + j);
            let size = (a[i] * b[j]).max(f64::from(before[at]));
            errors.push((got[at] + got[rows * cols + at] - want) / size.max(1e-30));
        }
    }
    let normal = (0..rows * cols).all(|at| got[at] as f32 == (got[at] + got[rows * cols + at]) as f32);
    assert!(normal, "second parts are below half a unit of the first");
    let checked = device.upload(&errors, &[rows, cols])?;
    Ok(vec![
        output("relative error", checked, vec![BOUNDS[usize::from(!outliers)]]).differences_of(1.0),
        canaries("tile", tile),
    ])
}

/// Features, samples, samples of a dispatch, place: around the part of 64, chunks of 64 and stages of 16, widths that
/// divide by 4 and not.
const CASES: [(usize, usize, usize, Place); 12] = [
    (1, 1, SAMPLES, [0, 1, 0, 1]),
    (64, 64, SAMPLES, [0, 64, 0, 64]),
    (65, 63, SAMPLES, [0, 65, 0, 65]),
    (200, 65, SAMPLES, [0, 200, 0, 200]),
    (200, 513, SAMPLES, [128, 72, 0, 128]),
    (201, 17, SAMPLES, [96, 96, 0, 96]),
    (203, 129, 64, [192, 11, 96, 96]),
    (203, 300, 128, [192, 11, 192, 11]),
    (132, 15, SAMPLES, [68, 64, 0, 68]),
    (136, 16, SAMPLES, [0, 136, 0, 136]),
    (96, 1100, SAMPLES, [0, 96, 0, 96]),
    (96, 1100, 37, [0, 96, 0, 96]),
];

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (m, samples, step, place) in CASES {
        for (outliers, plans) in [false, true].into_iter().flat_map(|o| OWN_AND_GPU.map(|p| (o, p))) {
            let what = if outliers { ", outliers" } else { "" };
            let name = format!("gram {samples} samples by {step}, {place:?} of {m}{what}{}", plans.0);
            all.push(case(name, move |d| error(d, m, samples, step, place, outliers, plans)));
        }
    }
    for plans in FEW_GROUPS {
        // 3 x 7 parts of 64 x 64, 5 x 50 of 32 x 8.
        let (m, place) = (552, [400, 150, 0, 400]);
        all.push(case(format!("gram {place:?} of {m}{}", plans.0), move |d| error(d, m, 5, 5, place, false, plans)));
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    for m in [203, 200] {
        let p = device.reals(&[10, m])?;
        let (units, tile) = (device.reals(&[2, m])?, device.reals(&[2, m, m])?);
        device.run(&Gram { p: &p, start: 0, samples: 10, units: &units, tile: &tile, row0: 0, col0: 0 })?;
    }
    Ok(())
}
