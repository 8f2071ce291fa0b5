//! Blocks of matrices: whole tensors, parts of them between numbers that stay, one row many times, sums.

use minoise::device::Device;
use minoise::kernels::copy_block::CopyBlock;
use minoise::kernels::gemm::Mat;
use minoise::{Error, Result};

use crate::harness::{Case, Output, case, guarded, input, numbers, output, poisoned, wide};

const EPS: f64 = f32::EPSILON as f64;

/// Rows, columns: around the workgroup of 256, primes, rows longer than a job of the twin (16,384), empty ones.
const SIZES: [[usize; 2]; 9] = [[1, 1], [3, 7], [1, 255], [256, 1], [1, 257], [67, 31], [2, 33_013], [0, 5], [4, 0]];

/// A copy is exact.
fn whole(device: &Device, [rows, cols]: [usize; 2]) -> Result<Vec<Output>> {
    let data = numbers(1, rows * cols);
    let (x, out) = (input(device, &data, &[rows, cols])?, poisoned(device, &[rows, cols])?);
    let (from, to) = (Mat::of(&x), Mat::of(&out));
    device.run(&CopyBlock { x: from, out: to, rows, cols, factor: 1.0, accumulate: false })?;
    Ok(vec![output("out", out, vec![f64::MIN_POSITIVE]).naive(move || wide(&data))])
}

/// Offsets and strides on both sides, with a factor.
fn part(device: &Device, [rows, cols]: [usize; 2], repeated: bool, accumulate: bool) -> Result<Vec<Output>> {
    let (x_offset, stride, out_offset, out_ld, factor) = (5, cols + 3, 2, cols + 1, -0.375);
    let (x_rows, x_ld) = if repeated { (1, 0) } else { (rows, stride) };
    // NaN around the block and between its rows.
    let mut x = vec![f32::NAN; x_offset + x_rows * stride];
    for (i, value) in numbers(1, x_rows * cols).into_iter().enumerate() {
        x[x_offset + i / cols * stride + i % cols] = value;
    }
    let mut before = numbers(2, out_offset + rows * out_ld + 1);
    let (mut naive, mut bound) = (wide(&before), vec![f64::MIN_POSITIVE; before.len()]);
    for (row, col) in (0..rows * cols).map(|i| (i / cols, i % cols)) {
        let at = out_offset + row * out_ld + col;
        let value = factor * f64::from(x[x_offset + row * x_ld + col]);
        let old = if accumulate { naive[at] } else { 0.0 };
        naive[at] = old + value;
        // A product and a sum.
        bound[at] = EPS * (value.abs() + old.abs());
        if !accumulate {
            before[at] = f32::NAN;
        }
    }
    let n = x.len();
    let (x, out) = (input(device, &x, &[n])?, guarded(device, &before, &[before.len()])?);
    let (from, to) = (Mat::at(&x, x_offset, x_ld), Mat::at(&out, out_offset, out_ld));
    device.run(&CopyBlock { x: from, out: to, rows, cols, factor, accumulate })?;
    Ok(vec![output("out", out, bound).naive(|| naive)])
}

/// Blocks that leave their tensors, results that overlap themselves or x.
fn refuses(device: &Device) -> Result<Vec<Output>> {
    let (x, out) = (device.zeros(&[4, 6])?, device.zeros(&[4, 6])?);
    let block = |x, out| CopyBlock { x, out, rows: 3, cols: 4, factor: 1.0, accumulate: false };
    let [from, to] = [Mat::at(&x, 2, 6), Mat::at(&out, 8, 6)];
    assert!(device.run(&block(from, to)).is_ok());
    let refused = device.run(&block(Mat { offset: 9, ..from }, to));
    assert!(matches!(refused, Err(Error::Shape { arg: "x", .. })));
    for to in [Mat { offset: 9, ..to }, Mat { ld: 3, ..to }, Mat { ld: 0, ..to }] {
        assert!(matches!(device.run(&block(from, to)), Err(Error::Shape { arg: "out", .. })));
    }
    assert!(matches!(device.run(&block(from, Mat::at(&x, 2, 6))), Err(Error::Aliasing { .. })));
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![case("copy_block refuses blocks that leave or overlap".into(), refuses)];
    for size in SIZES {
        all.push(case(format!("copy_block {size:?}"), move |d| whole(d, size)));
        for (repeated, accumulate) in [(false, false), (false, true), (true, false), (true, true)] {
            let name = format!(
                "copy_block {size:?} {}{}",
                if repeated { "one row" } else { "part" },
                if accumulate { ", accumulated" } else { "" }
            );
            all.push(case(name, move |d| part(d, size, repeated, accumulate)));
        }
    }
    // More than 65,535 workgroups.
    let many = [65_537, 257];
    all.push(case(format!("copy_block {many:?}"), move |d| whole(d, many)));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    part(device, SIZES[1], false, true).map(drop)
}
