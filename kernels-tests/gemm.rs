//! Matrix product: layouts, edges, epilogues, parts of tensors, halves, batches, lower triangle.

use minoise::Result;
use minoise::device::{Device, Planned, Precision};
use minoise::kernels::gemm::{Activation, Gemm, Layout, Mat, TILES, Tile, Variant};

use crate::harness::{Case, Output, case, guarded, numbers, poisoned, random};

pub const LAYOUTS: [Layout; 3] = [Layout::NN, Layout::NT, Layout::TN];
/// Around the edges of small tiles (32 wide, 16 deep), primes, divisible by 4 and not.
const SIZES: [[usize; 3]; 9] = [
    [1, 1, 1],
    [31, 33, 15],
    [32, 32, 16],
    [33, 31, 17],
    [67, 100, 61],
    [96, 160, 48],
    [520, 512, 20],
    [13, 8, 64],
    [7, 12, 4],
];

pub fn shapes(layout: Layout, [m, n, k]: [usize; 3]) -> ([usize; 2], [usize; 2]) {
    let a = if layout == Layout::TN { [k, m] } else { [m, k] };
    let b = if layout == Layout::NT { [n, k] } else { [k, n] };
    (a, b)
}

/// Rounding error of sums of length k: (k + 4) eps sum |a||b|, the sums taken with absolute values in f64.
pub fn bound(layout: Layout, mnk: [usize; 3], a: &[f32], b: &[f32], extra: f64) -> Result<Vec<f64>> {
    let oracle = Device::cpu(Precision::F64);
    let (sa, sb) = shapes(layout, mnk);
    let abs = |x: &[f32]| x.iter().map(|x| x.abs()).collect::<Vec<_>>();
    let (a, b) = (oracle.upload(&abs(a), &sa)?, oracle.upload(&abs(b), &sb)?);
    let out = oracle.reals(&[mnk[0], mnk[1]])?;
    oracle.run(&Gemm::new(layout, &a, &b, &out)?)?;
    let sums: Vec<f64> = pollster::block_on(oracle.read(&out))?;
    let eps = f64::from(f32::EPSILON);
    Ok(sums.into_iter().map(|s| ((mnk[2] + 4) as f64 * s + extra) * eps).collect())
}

/// Around the edges of a tile, and three tiles wide: whole quads and not, as all tiles are run on every device.
fn sizes(tile: &Tile) -> [[usize; 3]; 4] {
    let Tile { rows, cols, .. } = *tile;
    [[rows, cols, 16], [rows - 1, cols + 1, 17], [rows + 4, cols - 4, 12], [2 * rows + 4, 3 * cols, 36]]
}

/// Runs with the plan of the device, or with the given tile of `gemm.wgsl`, which software devices hardly plan for.
fn run(device: &Device, gemm: Gemm<'_>, tile: Option<&Tile>) -> Result<()> {
    match tile {
        None => device.run(&gemm),
        Some(tile) => device.run(&Planned(gemm, gemm.planned(Variant::Tile(*tile), device.caps()).expect("a tile"))),
    }
}

fn product(device: &Device, layout: Layout, mnk: [usize; 3], full: bool, tile: Option<&Tile>) -> Result<Vec<Output>> {
    let [m, n, k] = mnk;
    let (sa, sb) = shapes(layout, mnk);
    let (da, db) = (numbers(1, m * k), numbers(2, k * n));
    let (a, b) = (device.upload(&da, &sa)?, device.upload(&db, &sb)?);
    let (bias, residual) = (random(device, 3, &[n])?, random(device, 4, &[m, n])?);
    if !full {
        let out = poisoned(device, &[m, n])?;
        run(device, Gemm::new(layout, &a, &b, &out)?, tile)?;
        return Ok(vec![Output { name: "out", tensor: out, bound: bound(layout, mnk, &da, &db, 0.0)? }]);
    }
    let (out, pre) = (guarded(device, &numbers(5, m * n), &[m, n])?, poisoned(device, &[m, n])?);
    let gemm = Gemm {
        bias: Some(Mat::of(&bias)),
        residual: Some(&residual),
        pre: Some(&pre),
        activation: Activation::Gelu,
        accumulate: true,
        alpha: 0.75,
        ..Gemm::new(layout, &a, &b, &out)?
    };
    run(device, gemm, tile)?;
    // The slope of GELU is below 1.13; erf adds 6e-7 |x| / 2 <= 3 eps |x|.
    let bound = bound(layout, mnk, &da, &db, 8.0)?.into_iter().map(|x| 3.0 * x).collect::<Vec<_>>();
    Ok(vec![Output { name: "out", tensor: out, bound: bound.clone() }, Output { name: "pre", tensor: pre, bound }])
}

/// Two products inside larger tensors: offsets, leading dimensions and batch strides that differ from the sizes.
fn parts(device: &Device, layout: Layout, pad: usize, tile: Option<&Tile>) -> Result<Vec<Output>> {
    let (mnk, batch) = ([20, 24, 12], 3);
    let [m, n, k] = mnk;
    let (sa, sb) = shapes(layout, mnk);
    let (lda, ldb, ldo) = (sa[1] + pad, sb[1] + 2 * pad, n + pad);
    let a = random(device, 1, &[pad + batch * (sa[0] * lda + pad)])?;
    let b = random(device, 2, &[pad + batch * (sb[0] * ldb + pad)])?;
    let bias = random(device, 3, &[batch * n + pad])?;
    let fill = numbers(4, pad + batch * (m * ldo + pad));
    let out = guarded(device, &fill, &[fill.len()])?;
    let gemm = Gemm {
        bias: Some(Mat::at(&bias, pad, n).every(n)),
        activation: Activation::Relu,
        batch,
        ..Gemm::of(
            layout,
            mnk,
            Mat::at(&a, pad, lda).every(sa[0] * lda + pad),
            Mat::at(&b, pad, ldb).every(sb[0] * ldb + pad),
            Mat::at(&out, pad, ldo).every(m * ldo + pad),
        )
    };
    run(device, gemm, tile)?;
    let eps = f64::from(f32::EPSILON);
    Ok(vec![Output { name: "out", tensor: out, bound: vec![(k * k) as f64 * eps] }])
}

fn halves(device: &Device, layout: Layout, mnk: [usize; 3], tile: Option<&Tile>) -> Result<Vec<Output>> {
    let (sa, sb) = shapes(layout, mnk);
    let (da, db) = (numbers(1, mnk[0] * mnk[2]), numbers(2, mnk[2] * mnk[1]));
    let db: Vec<_> = db.iter().map(|&x| half::f16::from_f32(x)).collect();
    let (a, b) = (device.upload(&da, &sa)?, device.upload_f16(&db, &sb)?);
    let out = poisoned(device, &[mnk[0], mnk[1]])?;
    run(device, Gemm::new(layout, &a, &b, &out)?, tile)?;
    let wide: Vec<_> = db.iter().map(|x| x.to_f32()).collect();
    Ok(vec![Output { name: "out", tensor: out, bound: bound(layout, mnk, &da, &wide, 0.0)? }])
}

/// The lower triangle of A^T A accumulated; the upper one is cleared before the comparison.
fn lower(device: &Device, m: usize, tile: Option<&Tile>) -> Result<Vec<Output>> {
    let k = 37;
    let a = random(device, 1, &[k, m])?;
    let out = guarded(device, &numbers(5, m * m), &[m, m])?;
    let gemm = Gemm { accumulate: true, lower: true, ..Gemm::new(Layout::TN, &a, &a, &out)? };
    run(device, gemm, tile)?;
    let mut all: Vec<f64> = pollster::block_on(device.read(&out))?;
    (0..m).for_each(|i| all[i * m + i + 1..(i + 1) * m].fill(0.0));
    let out = device.upload(&all, &[m, m])?;
    Ok(vec![Output { name: "out", tensor: out, bound: vec![(k * k) as f64 * f64::from(f32::EPSILON)] }])
}

/// A product in three parts and what they leave over, judged by the whole one.
fn in_parts(device: &Device, layout: Layout, accumulate: bool) -> Result<Vec<Output>> {
    let mnk @ [m, n, k] = [20, 24, 3 * 32 + 7];
    let (sa, sb) = shapes(layout, mnk);
    let (a, b) = (random(device, 1, &[2 * sa[0], sa[1]])?, random(device, 2, &[2 * sb[0], sb[1]])?);
    let out = guarded(device, &numbers(3, 2 * m * n + 4), &[2 * m * n + 4])?;
    let [a, b] = [&a, &b].map(|x| Mat::of(x).every(x.len() / 2));
    let product = Gemm::of(layout, mnk, a, b, Mat::at(&out, 4, n).every(m * n));
    let product = Gemm { alpha: 0.75, accumulate, batch: 2, ..product };
    if device.is_cpu() {
        device.run(&product)?
    } else {
        product.run_in_parts(device, 3)?
    }
    Ok(vec![Output { name: "out", tensor: out, bound: vec![(k * k) as f64 * f64::from(f32::EPSILON)] }])
}

const HALVES: [[usize; 3]; 2] = [[19, 21, 23], [20, 24, 28]];

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let tiles = TILES.iter().map(Some).chain([None]);
    for (layout, tile) in LAYOUTS.into_iter().flat_map(|l| tiles.clone().map(move |t| (l, t))) {
        let of = tile.map_or(String::new(), |t| format!(", tile {}x{}", t.rows, t.cols));
        for mnk in tile.map_or(SIZES.to_vec(), |t| sizes(t).to_vec()) {
            for full in [false, true] {
                let what = if full { "epilogue" } else { "plain" };
                let name = format!("gemm {layout:?} {mnk:?} {what}{of}");
                all.push(case(name, move |d| product(d, layout, mnk, full, tile)));
            }
        }
        for pad in [4, 5] {
            let name = format!("gemm {layout:?} parts, padding {pad}{of}");
            all.push(case(name, move |d| parts(d, layout, pad, tile)));
        }
        for mnk in HALVES {
            all.push(case(format!("gemm {layout:?} halves {mnk:?}{of}"), move |d| halves(d, layout, mnk, tile)));
        }
    }
    for (layout, add) in LAYOUTS.into_iter().flat_map(|l| [(l, false), (l, true)]) {
        all.push(case(format!("gemm {layout:?} in parts, accumulate {add}"), move |d| in_parts(d, layout, add)));
    }
    for (m, tile) in [1, 64, 99, 132].into_iter().flat_map(|m| tiles.clone().map(move |t| (m, t))) {
        let of = tile.map_or(String::new(), |t| format!(", tile {}x{}", t.rows, t.cols));
        all.push(case(format!("gemm lower triangle {m}{of}"), move |d| lower(d, m, tile)));
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    for tile in TILES.iter().map(Some).chain([None]) {
        for layout in LAYOUTS {
            for mnk in SIZES {
                product(device, layout, mnk, false, tile)?;
                product(device, layout, mnk, true, tile)?;
            }
            parts(device, layout, 4, tile)?;
            for mnk in HALVES {
                halves(device, layout, mnk, tile)?;
            }
        }
        for m in [64, 99] {
            let (a, out) = (device.reals(&[37, m])?, device.reals(&[m, m])?);
            run(device, Gemm { lower: true, ..Gemm::new(Layout::TN, &a, &a, &out)? }, tile)?;
        }
    }
    Ok(())
}
