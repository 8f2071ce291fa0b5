//! One diagonal block, and the whole factorisation and solve that are made of blocks.

use minoise::device::{Device, Tensor};
use minoise::kernels::cholesky::factor;
use minoise::kernels::cholesky_block::CholeskyBlock;
use minoise::{Error, Result};
use pollster::block_on;

use crate::harness::{Case, Output, case, guarded, numbers};

const EPS: f64 = f32::EPSILON as f64;

/// `B B^T / m + I` with B [m, m] in (-1, 1): its smallest eigenvalue is at least 1.
pub fn positive(m: usize) -> Vec<f32> {
    let b = numbers(7, m * m);
    let mut a = vec![0.0; m * m];
    for i in 0..m {
        for j in 0..=i {
            let dot: f32 = b[i * m..][..m].iter().zip(&b[j * m..]).map(|(x, y)| x * y).sum();
            a[i * m + j] = dot / m as f32 + f32::from(i == j);
            a[j * m + i] = a[i * m + j];
        }
    }
    a
}

fn host(device: &Device, tensor: &Tensor) -> Result<Vec<f64>> {
    block_on(device.read(tensor))
}

/// Blocks of a larger matrix; what stands outside their lower triangle must stay.
fn block(device: &Device, m: usize, start: usize, size: usize) -> Result<Vec<Output>> {
    let a = positive(m);
    let (g, info) = (guarded(device, &a, &[m, m])?, guarded(device, &[-1.0, 0.0], &[2])?);
    device.run(&CholeskyBlock { g: &g, info: &info, start, size })?;
    // The eigenvalues lie in [1, 3], so the factor's relative error is a small multiple of the residual's bound
    // (Higham, Accuracy and Stability, theorem 10.8).
    let bound = vec![8.0 * (size + 4) as f64 * EPS];
    Ok(vec![Output { name: "g", tensor: g, bound }, Output { name: "info", tensor: info, bound: vec![1e-30] }])
}

/// A negative, zero, NaN or infinite pivot in a block whose predecessors are good, and a second bad one behind it.
fn bad_block(device: &Device, pivot: f32, before: f32) -> Result<Vec<Output>> {
    let (m, start, size) = (70, 6, 64);
    let mut a = positive(m);
    // Row 20 has no other entries, so its pivot is its diagonal.
    (0..20).for_each(|j| a[20 * m + j] = 0.0);
    a[20 * m + 20] = pivot;
    a[30 * m + 30] = -5.0;
    let (g, info) = (device.upload(&a, &[m, m])?, guarded(device, &[before, 0.5], &[2])?);
    device.run(&CholeskyBlock { g: &g, info: &info, start, size })?;
    let info: Vec<f64> = host(device, &info)?;
    let want = if before < 0.0 { (20.0, f64::from(pivot)) } else { (f64::from(before), 0.5) };
    assert!(info[0] == want.0 && info[1].total_cmp(&want.1).is_eq(), "{info:?}, wanted {want:?}");
    Ok(Vec::new())
}

/// `A - L L^T` below and on the diagonal, computed in f64: the f64 device leaves next to nothing.
fn residual(device: &Device, m: usize) -> Result<Vec<Output>> {
    let a = positive(m);
    let factor = factor(device, &guarded(device, &a, &[m, m])?)?;
    block_on(factor.status())?;
    let l: Vec<f64> = host(device, &factor.l)?;
    let (mut difference, mut bound) = (vec![0.0; m * m], vec![f64::MIN_POSITIVE; m * m]);
    for i in 0..m {
        for j in 0..=i {
            let dot: f64 = l[i * m..][..j + 1].iter().zip(&l[j * m..]).map(|(x, y)| x * y).sum();
            difference[i * m + j] = f64::from(a[i * m + j]) - dot;
            // |A - L L^T| <= (n + 1) u |L| |L^T| (Higham, theorem 10.3), and rows of L have the length sqrt(a_ii).
            bound[i * m + j] = (m + 8) as f64 * EPS * f64::from(a[i * m + i] * a[j * m + j]).sqrt();
        }
    }
    Ok(vec![Output { name: "A - L L^T", tensor: device.upload(&difference, &[m, m])?, bound }])
}

fn solve(device: &Device, m: usize, rows: usize) -> Result<Vec<Output>> {
    let a = positive(m);
    let rhs = device.upload(&numbers(8, rows * m), &[rows, m])?;
    let x = factor(device, &device.upload(&a, &[m, m])?)?.solve(&rhs)?;
    // (A + E) x = b with |E| <= (3 n + 1) u |L| |L^T| (Higham, theorem 10.4), and A^-1 has at most norm 1.
    let values: Vec<f64> = host(device, &x)?;
    let diagonal: Vec<_> = (0..m).map(|i| f64::from(a[i * m + i]).sqrt()).collect();
    let norm = diagonal.iter().map(|d| d * d).sum::<f64>().sqrt();
    let bound = values
        .chunks(m)
        .flat_map(|x| {
            let size: f64 = x.iter().zip(&diagonal).map(|(x, d)| x.abs() * d).sum();
            std::iter::repeat_n((3 * m + 16) as f64 * EPS / 2.0 * norm * size, m)
        })
        .collect();
    Ok(vec![Output { name: "x", tensor: x, bound }])
}

fn no_rows(device: &Device) -> Result<Vec<Output>> {
    let x = factor(device, &device.upload(&positive(130), &[130, 130])?)?.solve(&device.reals(&[0, 130])?)?;
    assert_eq!(x.shape(), [0, 130]);
    block_on(device.finish())?;
    Ok(Vec::new())
}

fn indefinite(device: &Device, m: usize, column: usize) -> Result<Vec<Output>> {
    let mut a = positive(m);
    a[column * m + column] = -2.0;
    let factor = factor(device, &device.upload(&a, &[m, m])?)?;
    match block_on(factor.status()) {
        Err(Error::NotPositiveDefinite { column: found, pivot }) => {
            assert_eq!(found, column);
            let pivot = device.upload(&[pivot], &[1])?;
            Ok(vec![Output { name: "pivot", tensor: pivot, bound: vec![4.0 * (m + 8) as f64 * EPS] }])
        }
        other => panic!("{other:?}"),
    }
}

fn misshapen(device: &Device) -> Result<Vec<Output>> {
    assert!(matches!(factor(device, &device.reals(&[3, 4])?), Err(Error::Shape { .. })));
    let factor = factor(device, &device.upload(&positive(3), &[3, 3])?)?;
    assert!(matches!(factor.solve(&device.reals(&[3, 4])?), Err(Error::Shape { .. })));
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (m, start, size) in [(1, 0, 1), (64, 0, 64), (63, 0, 63), (130, 64, 64), (130, 128, 2), (97, 13, 31)] {
        let name = format!("cholesky_block columns {start}..{} of {m}", start + size);
        all.push(case(name, move |d| block(d, m, start, size)));
    }
    for pivot in [-2.0, 0.0, f32::NAN, f32::INFINITY] {
        for before in [-1.0, 3.0] {
            let name = format!("cholesky_block pivot {pivot} after {before}");
            all.push(case(name, move |d| bad_block(d, pivot, before)));
        }
    }
    for m in [1, 2, 63, 64, 65, 130, 190, 256] {
        all.push(case(format!("cholesky factor of {m}"), move |d| residual(d, m)));
        all.push(case(format!("cholesky solve of {m}, 33 rows"), move |d| solve(d, m, 33)));
    }
    all.push(case("cholesky solve of 190, 1 row".into(), |d| solve(d, 190, 1)));
    all.push(case("cholesky solve of 130, no rows".into(), no_rows));
    for (m, column) in [(1, 0), (63, 62), (130, 0), (190, 100), (256, 255)] {
        let name = format!("cholesky indefinite at {column} of {m}");
        all.push(case(name, move |d| indefinite(d, m, column)));
    }
    all.push(case("cholesky refuses other shapes".into(), misshapen));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    block(device, 97, 13, 31)?;
    let factor = factor(device, &device.reals(&[190, 190])?)?;
    factor.solve(&device.reals(&[3, 190])?).map(drop)
}
