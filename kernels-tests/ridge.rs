//! Solutions of ridge systems against float64: from well-conditioned to condition 1e10, in one tile and in many.

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use minoise::algorithms::ridge::System;
use minoise::device::Device;
use minoise::{Error, Result};
use pollster::block_on;

use crate::cholesky::tiled;
use crate::harness::{Case, Output, case, numbers};

/// A symmetric matrix [m, m] with eigenvalues from 1 down to 1 / condition, rows scaled to sizes far apart.
fn spectrum(m: usize, condition: f64) -> Mat<f64> {
    let b = numbers(11, m * m);
    let q = Mat::from_fn(m, m, |i, j| f64::from(b[i * m + j])).qr().compute_Q();
    let value = |k: usize| condition.powf(-(k as f64) / (m.max(2) - 1) as f64);
    let scaled = Mat::from_fn(m, m, |i, k| q[(i, k)] * value(k));
    &scaled * q.transpose()
}

/// The matrix rounded to pairs of f32.
fn pairs(a: &Mat<f64>) -> [Vec<f32>; 2] {
    let entries: Vec<f64> = (0..a.nrows() * a.ncols()).map(|i| a[(i / a.ncols(), i % a.ncols())]).collect();
    let high: Vec<f32> = entries.iter().map(|&x| x as f32).collect();
    let low = entries.iter().zip(&high).map(|(&x, &h)| (x - f64::from(h)) as f32).collect();
    [high, low]
}

/// Largest error of W relative to the largest entry, for `classes` right-hand sides.
fn error(device: &Device, m: usize, side: usize, condition: f64, bound: f64) -> Result<Vec<Output>> {
    let (classes, gamma) = (7, 0.3 / condition);
    let [high, low] = pairs(&spectrum(m, condition));
    let whole = Mat::from_fn(m, m, |i, j| {
        let (i, j) = (i.max(j), i.min(j));
        f64::from(high[i * m + j]) + f64::from(low[i * m + j]) + if i == j { gamma } else { 0.0 }
    });
    let q = numbers(12, 2 * classes * m);
    let q: Vec<f32> = q.iter().enumerate().map(|(i, x)| if i < classes * m { *x } else { x * 2e-8 }).collect();
    let sum = |j: usize, c: usize| f64::from(q[c * m + j]) + f64::from(q[(classes + c) * m + j]);
    // The last class has no samples.
    let q: Vec<f32> =
        q.iter().enumerate().map(|(i, x)| if i / m % classes == classes - 1 { 0.0 } else { *x }).collect();
    let rhs = Mat::from_fn(m, classes, |j, c| if c == classes - 1 { 0.0 } else { sum(j, c) });
    let want = whole.llt(Side::Lower).expect("positive definite").solve(&rhs);
    let gram = tiled(device, &[&high, &low], m, side)?;
    // Diagonal tiles are stored in full.
    for i in 0..gram.count() {
        let range = gram.range(i);
        let of = |x: &[f32]| -> Vec<f32> {
            range
                .clone()
                .flat_map(|r| range.clone().map(move |c| (r.max(c), r.min(c))))
                .map(|(r, c)| x[r * m + c])
                .collect()
        };
        device.write(gram.tile(i, i), &[of(&high), of(&low)].concat())?;
    }
    let sums = device.upload(&q, &[2, classes, m])?;
    let mut columns = 0;
    let system = System::new(device, &gram, gamma, &mut |n| columns += n)?;
    assert_eq!(columns, m);
    match block_on(system.solve(&sums)) {
        Ok(solution) => {
            let got: Vec<f64> = block_on(device.read(&solution.weights))?;
            let largest = (0..classes * m).map(|i| want[(i % m, i / m)].abs()).fold(0.0, f64::max);
            let worst = (0..classes * m).map(|i| (got[i] - want[(i % m, i / m)]).abs() / largest).fold(0.0, f64::max);
            misses(&whole, &rhs, &got);
            assert!(worst <= bound, "error {worst:e} > {bound:e}, residual {:e}", solution.residual);
        }
        Err(Error::IllConditioned { .. } | Error::NotPositiveDefinite { .. }) if condition > 1e9 => {}
        Err(e) => return Err(e),
    }
    Ok(Vec::new())
}

/// The equations themselves, by plain loops: what they are missed by is 1e-6 of the right-hand side, as the solver promises
/// of the scaled equations, and what comes of rounding the solution to f32.
fn misses(a: &Mat<f64>, rhs: &Mat<f64>, w: &[f64]) {
    let m = a.nrows();
    for (c, w) in w.chunks(m).enumerate() {
        let (mut error, mut size, mut rounding) = (0.0, 0.0, 0.0);
        for j in 0..m {
            let product: f64 = (0..m).map(|k| a[(j, k)] * w[k]).sum();
            error += (product - rhs[(j, c)]).powi(2);
            size += rhs[(j, c)].powi(2);
            rounding += (0..m).map(|k| (a[(j, k)] * w[k]).powi(2)).sum::<f64>();
        }
        let bound = 2e-6 * f64::sqrt(size) + 0.5 * f64::from(f32::EPSILON) * f64::sqrt(rounding);
        assert!(f64::sqrt(error) <= bound, "class {c}: residual {:e} > {bound:e}", f64::sqrt(error));
    }
}

/// A matrix with a negative eigenvalue that no shift hides.
fn indefinite(device: &Device) -> Result<Vec<Output>> {
    let (m, side) = (130, 64);
    let mut a = pairs(&spectrum(m, 100.0));
    a[0][77 * m + 77] = -1.0;
    let gram = tiled(device, &[&a[0], &a[1]], m, side)?;
    let system = System::new(device, &gram, 0.5, &mut |_| ())?;
    let sums = device.zeros(&[2, 3, m])?;
    match block_on(system.solve(&sums)) {
        Err(Error::NotPositiveDefinite { column: 77, pivot }) => assert!(pivot < 0.0, "{pivot}"),
        other => panic!("{other:?}"),
    }
    Ok(Vec::new())
}

/// Unknowns, side of the tiles, condition, error allowed: that of a solution rounded to f32, then of directions that pairs
/// cannot tell apart any more.
const CASES: [(usize, usize, f64, f64); 9] = [
    (1, 1, 1.0, 1e-6),
    (65, 65, 1e2, 1e-6),
    (200, 96, 1e2, 1e-6),
    (200, 64, 1e5, 1e-6),
    (201, 96, 1e7, 2e-6),
    (300, 300, 1e7, 2e-6),
    (300, 128, 1e8, 1e-5),
    (200, 96, 1e10, 1e-3),
    (200, 96, 1e13, 1.0),
];

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (m, side, condition, bound) in CASES {
        let name = format!("ridge {m} in tiles of {side}, condition {condition:e}");
        all.push(case(name, move |d| error(d, m, side, condition, bound)));
    }
    all.push(case("ridge indefinite".into(), indefinite));
    all
}

pub fn examples(_: &Device) -> Result<()> {
    // Its kernels have examples of their own.
    Ok(())
}
