//! Matrix product: layouts, edges, epilogues, parts of tensors, halves, batches, lower triangle.

use minoise::Result;
use minoise::device::{Device, Precision};
use minoise::kernels::gemm::{Activation, Gemm, Layout, Mat};

use crate::harness::{Case, Output, case, guarded, numbers, poisoned, random};

const LAYOUTS: [Layout; 3] = [Layout::NN, Layout::NT, Layout::TN];
/// Around the tile edges (32, 64 wide, 16 deep), primes, divisible by 4 and not.
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

fn shapes(layout: Layout, [m, n, k]: [usize; 3]) -> ([usize; 2], [usize; 2]) {
    let a = if layout == Layout::TN { [k, m] } else { [m, k] };
    let b = if layout == Layout::NT { [n, k] } else { [k, n] };
    (a, b)
}

/// Rounding error of sums of length k: (k + 4) eps sum |a||b|, the sums taken with absolute values in f64.
fn bound(layout: Layout, mnk: [usize; 3], a: &[f32], b: &[f32], extra: f64) -> Result<Vec<f64>> {
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

fn product(device: &Device, layout: Layout, mnk: [usize; 3], full: bool) -> Result<Vec<Output>> {
    let [m, n, k] = mnk;
    let (sa, sb) = shapes(layout, mnk);
    let (da, db) = (numbers(1, m * k), numbers(2, k * n));
    let (a, b) = (device.upload(&da, &sa)?, device.upload(&db, &sb)?);
    let (bias, residual) = (random(device, 3, &[n])?, random(device, 4, &[m, n])?);
    if !full {
        let out = poisoned(device, &[m, n])?;
        device.run(&Gemm::new(layout, &a, &b, &out)?)?;
        return Ok(vec![Output { name: "out", tensor: out, bound: bound(layout, mnk, &da, &db, 0.0)? }]);
    }
    let (out, pre) = (guarded(device, &numbers(5, m * n), &[m, n])?, poisoned(device, &[m, n])?);
    device.run(&Gemm {
        bias: Some(Mat::of(&bias)),
        residual: Some(&residual),
        pre: Some(&pre),
        activation: Activation::Gelu,
        accumulate: true,
        alpha: 0.75,
        ..Gemm::new(layout, &a, &b, &out)?
    })?;
    // The slope of GELU is below 1.13; erf adds 6e-7 |x| / 2 <= 3 eps |x|.
    let bound = bound(layout, mnk, &da, &db, 8.0)?.into_iter().map(|x| 3.0 * x).collect::<Vec<_>>();
    Ok(vec![Output { name: "out", tensor: out, bound: bound.clone() }, Output { name: "pre", tensor: pre, bound }])
}

/// Two products inside larger tensors: offsets, leading dimensions and batch strides that differ from the sizes.
fn parts(device: &Device, layout: Layout, pad: usize) -> Result<Vec<Output>> {
    let (mnk, batch) = ([20, 24, 12], 3);
    let [m, n, k] = mnk;
    let (sa, sb) = shapes(layout, mnk);
    let (lda, ldb, ldo) = (sa[1] + pad, sb[1] + 2 * pad, n + pad);
    let a = random(device, 1, &[pad + batch * (sa[0] * lda + pad)])?;
    let b = random(device, 2, &[pad + batch * (sb[0] * ldb + pad)])?;
    let bias = random(device, 3, &[batch * n + pad])?;
    let fill = numbers(4, pad + batch * (m * ldo + pad));
    let out = guarded(device, &fill, &[fill.len()])?;
    device.run(&Gemm {
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
    })?;
    let eps = f64::from(f32::EPSILON);
    Ok(vec![Output { name: "out", tensor: out, bound: vec![(k * k) as f64 * eps] }])
}

fn halves(device: &Device, layout: Layout) -> Result<Vec<Output>> {
    let mnk = [19, 21, 23];
    let (sa, sb) = shapes(layout, mnk);
    let (da, db) = (numbers(1, mnk[0] * mnk[2]), numbers(2, mnk[2] * mnk[1]));
    let db: Vec<_> = db.iter().map(|&x| half::f16::from_f32(x)).collect();
    let (a, b) = (device.upload(&da, &sa)?, device.upload_f16(&db, &sb)?);
    let out = poisoned(device, &[mnk[0], mnk[1]])?;
    device.run(&Gemm::new(layout, &a, &b, &out)?)?;
    let wide: Vec<_> = db.iter().map(|x| x.to_f32()).collect();
    Ok(vec![Output { name: "out", tensor: out, bound: bound(layout, mnk, &da, &wide, 0.0)? }])
}

/// The lower triangle of A^T A accumulated; the upper one is cleared before the comparison.
fn lower(device: &Device, m: usize) -> Result<Vec<Output>> {
    let k = 37;
    let a = random(device, 1, &[k, m])?;
    let out = guarded(device, &numbers(5, m * m), &[m, m])?;
    device.run(&Gemm { accumulate: true, lower: true, ..Gemm::new(Layout::TN, &a, &a, &out)? })?;
    let mut all: Vec<f64> = pollster::block_on(device.read(&out))?;
    (0..m).for_each(|i| all[i * m + i + 1..(i + 1) * m].fill(0.0));
    let out = device.upload(&all, &[m, m])?;
    Ok(vec![Output { name: "out", tensor: out, bound: vec![(k * k) as f64 * f64::from(f32::EPSILON)] }])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for layout in LAYOUTS {
        for mnk in SIZES {
            for full in [false, true] {
                let what = if full { "epilogue" } else { "plain" };
                all.push(case(format!("gemm {layout:?} {mnk:?} {what}"), move |d| product(d, layout, mnk, full)));
            }
        }
        for pad in [4, 5] {
            all.push(case(format!("gemm {layout:?} parts, padding {pad}"), move |d| parts(d, layout, pad)));
        }
        all.push(case(format!("gemm {layout:?} halves"), move |d| halves(d, layout)));
    }
    for m in [1, 64, 99, 132] {
        all.push(case(format!("gemm lower triangle {m}"), move |d| lower(d, m)));
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    for layout in LAYOUTS {
        for mnk in SIZES {
            product(device, layout, mnk, false)?;
            product(device, layout, mnk, true)?;
        }
        parts(device, layout, 4)?;
        halves(device, layout)?;
    }
    for (shader_m, k) in [(64, 37), (132, 37)] {
        let a = device.reals(&[k, shader_m])?;
        let out = device.reals(&[shader_m, shader_m])?;
        device.run(&Gemm { lower: true, ..Gemm::new(Layout::TN, &a, &a, &out)? })?;
    }
    Ok(())
}
