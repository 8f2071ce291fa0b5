//! One diagonal block.

use minoise::Result;
use minoise::device::{Device, Tensor};
use minoise::kernels::cholesky_block::CholeskyBlock;
use pollster::block_on;

use crate::harness::{Case, Output, case, guarded, numbers, output};

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
    device.run(&CholeskyBlock { g: &g, info: &info, start, size, first: 128 })?;
    // The eigenvalues lie in [1, 3], so the factor's relative error is a small multiple of the residual's bound
    // (Higham, Accuracy and Stability, theorem 10.8).
    let bound = vec![8.0 * (size + 4) as f64 * EPS];
    Ok(vec![output("g", g, bound), output("info", info, vec![1e-30])])
}

/// A negative, zero, NaN or infinite pivot in a block whose predecessors are good, and a second bad one behind it.
fn bad_block(device: &Device, pivot: f32, before: f32) -> Result<Vec<Output>> {
    let (m, start, size) = (70, 6, 64);
    let mut a = positive(m);
    // Row 20 has no other entries, so its pivot is its diagonal.
    (0..20).for_each(|j| a[20 * m + j] = 0.0);
    a[20 * m + 20] = pivot;
    a[30 * m + 30] = -5.0;
    let (g, info) = (guarded(device, &a, &[m, m])?, guarded(device, &[before, 0.5], &[2])?);
    device.run(&CholeskyBlock { g: &g, info: &info, start, size, first: 128 })?;
    let info: Vec<f64> = host(device, &info)?;
    let want = if before < 0.0 { (148.0, f64::from(pivot)) } else { (f64::from(before), 0.5) };
    assert!(info[0] == want.0 && info[1].total_cmp(&want.1).is_eq(), "{info:?}, wanted {want:?}");
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
    all
}

pub fn examples(device: &Device) -> Result<()> {
    block(device, 97, 13, 31).map(drop)
}
