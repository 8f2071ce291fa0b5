//! Rows solved with a diagonal block: both directions, parts of larger matrices, the panel of a factorisation.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::gemm::Mat;
use minoise::kernels::triangular_rows::TriangularRows;

use crate::harness::{Case, Output, case, guarded, input, numbers, output};

/// Columns of the block.
#[derive(Clone, Copy, Debug)]
struct Columns {
    start: usize,
    size: usize,
}

/// Lower triangle with a diagonal in (2, 3) and rows whose other entries sum to at most 1 in size; NaN above.
fn factor(m: usize) -> Vec<f32> {
    let mut l: Vec<_> = numbers(1, m * m).into_iter().map(|x| x / m as f32).collect();
    for i in 0..m {
        l[i * m + i] = 2.5 + 0.5 * l[i * m + i];
        l[i * m + i + 1..(i + 1) * m].fill(f32::NAN);
    }
    l
}

/// Each unknown has at most `size` products behind it, and the solution is bounded by the right-hand side (columns of
/// L sum to at most 1 beside a diagonal above 2).
fn bound(size: usize) -> Vec<f64> {
    vec![4.0 * (size + 8) as f64 * f64::from(f32::EPSILON)]
}

fn rows(device: &Device, m: usize, columns: Columns, rows: usize, transposed: bool) -> Result<Vec<Output>> {
    let Columns { start, size } = columns;
    let (offset, ld) = (3, m + 5);
    // NaN around the block.
    let inside = |i: usize| (start..start + size).contains(&i);
    let outside = |at: usize| !inside(at / m) || !inside(at % m);
    let block: Vec<_> =
        (factor(m).into_iter().enumerate()).map(|(at, x)| if outside(at) { f32::NAN } else { x }).collect();
    let l = input(device, &block, &[m, m])?;
    let fill = numbers(2, offset + rows * ld);
    let rhs = guarded(device, &fill, &[fill.len()])?;
    let scratch = guarded(device, &numbers(3, rows * (m + 2)), &[rows, m + 2])?;
    device.run(&TriangularRows {
        l: Some(&l),
        start,
        size,
        rhs: Mat::at(&rhs, offset, ld),
        rows,
        scratch: &scratch,
        transposed,
    })?;
    Ok(vec![output("rhs", rhs, bound(size)), output("scratch", scratch, bound(size))])
}

/// The panel below the block, inside the matrix that holds L.
fn panel(device: &Device, m: usize, Columns { start, size }: Columns) -> Result<Vec<Output>> {
    let filled: Vec<_> = factor(m).into_iter().map(|x| if x.is_nan() { 0.0 } else { x }).collect();
    let g = guarded(device, &filled, &[m, m])?;
    let (end, rows) = (start + size, m - start - size);
    let scratch = guarded(device, &numbers(3, rows * (m + 2)), &[rows, m + 2])?;
    device.run(&TriangularRows {
        l: None,
        start,
        size,
        rhs: Mat::at(&g, end * m, m),
        rows,
        scratch: &scratch,
        transposed: false,
    })?;
    Ok(vec![output("g", g, bound(size)), output("scratch", scratch, bound(size))])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (m, start, size, count) in
        [(1, 0, 1, 1), (64, 0, 64, 31), (130, 64, 64, 33), (130, 128, 2, 32), (97, 13, 31, 197), (66, 3, 63, 0)]
    {
        let columns = Columns { start, size };
        for transposed in [false, true] {
            let way = if transposed { "x L" } else { "x L^T" };
            let name = format!("triangular_rows {way}, columns {start}..{} of {m}, {count} rows", start + size);
            all.push(case(name, move |d| rows(d, m, columns, count, transposed)));
        }
    }
    for (m, start, size) in [(65, 0, 64), (150, 64, 64), (40, 3, 17)] {
        let name = format!("triangular_rows panel below columns {start}..{} of {m}", start + size);
        all.push(case(name, move |d| panel(d, m, Columns { start, size })));
    }
    // More workgroups than one dimension of a dispatch takes.
    let many = 32 * 65_535 + 1;
    all.push(case(format!("triangular_rows {many} rows"), move |d| {
        rows(d, 1, Columns { start: 0, size: 1 }, many, false)
    }));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    for transposed in [false, true] {
        rows(device, 97, Columns { start: 13, size: 31 }, 33, transposed)?;
    }
    panel(device, 65, Columns { start: 0, size: 64 }).map(drop)
}
