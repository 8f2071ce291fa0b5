//! The classifier beside a dense float64 Cholesky factorisation, for condition numbers of 1e5, 1e7 and 1e10.

use faer::linalg::matmul::matmul;
use faer::linalg::solvers::Solve;
use faer::{Accum, Mat, Par, Side};
use minoise::bench::Random;
use minoise::device::Device;
use minoise::model::head::Statistics;
use minoise::{Error, Result};
use pollster::block_on;

const SAMPLES: usize = 3000;
const CLASSES: usize = 10;
/// Condition numbers and the error of W allowed, relative to its largest entry (SPEC section 8). At the last one an answer
/// may also be refused, and one that is given meets its equations.
const CASES: [(f64, f64); 3] = [(1e5, 1e-4), (1e7, 1e-3), (1e10, f64::INFINITY)];

/// Features whose second moments have eigenvalues from 1 down to `1 / condition`, mixed by a Walsh-Hadamard matrix; m is a
/// power of two.
fn features(m: usize, condition: f64) -> Vec<f32> {
    let random = Random::new().numbers(SAMPLES * m, 1.0);
    let z = Mat::from_fn(SAMPLES, m, |i, k| {
        f64::from(random[i * m + k]) * condition.powf(-0.5 * k as f64 / (m - 1) as f64)
    });
    let sign = |i: usize, j: usize| if (i & j).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
    let walsh = Mat::from_fn(m, m, |i, j| sign(i, j) / (m as f64).sqrt());
    let p = product(&z, &walsh);
    (0..SAMPLES * m).map(|at| p[(at / m, at % m)] as f32).collect()
}

fn product(a: &Mat<f64>, b: &Mat<f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    matmul(out.as_mut(), Accum::Replace, a, b, 1.0, Par::Seq);
    out
}

/// Largest eigenvalue of a symmetric matrix, by the power method.
fn largest(g: &Mat<f64>) -> f64 {
    let (mut x, mut value) = (Mat::from_fn(g.nrows(), 1, |i, _| 1.0 + i as f64 % 3.0), 0.0);
    for _ in 0..30 {
        let y = product(g, &x);
        value = y.norm_l2();
        x = Mat::from_fn(y.nrows(), 1, |i, _| y[(i, 0)] / value);
    }
    value
}

/// Panics where W is further from float64's than [`CASES`] allow.
pub fn check(device: &Device, m: usize) -> Result<()> {
    let labels: Vec<u32> = (0..SAMPLES).map(|i| (i * i % CLASSES) as u32).collect();
    for (condition, allowed) in CASES {
        let p = features(m, condition);
        let exact = Mat::from_fn(SAMPLES, m, |i, k| f64::from(p[i * m + k]));
        let y = Mat::from_fn(SAMPLES, CLASSES, |i, c| f64::from(u8::from(labels[i] as usize == c)));
        let transposed = exact.transpose().to_owned();
        let (mut g, q) = (product(&transposed, &exact), product(&transposed, &y));
        let gamma = largest(&g) / condition;
        (0..m).for_each(|k| g[(k, k)] += gamma);
        let want = g.llt(Side::Lower).expect("positive definite").solve(&q);

        let mut statistics = Statistics::new(device, m)?;
        statistics.widen(CLASSES)?;
        for (p, labels) in p.chunks(1000 * m).zip(labels.chunks(1000)) {
            block_on(statistics.add(device, &device.upload(p, &[labels.len(), m])?, labels))?;
        }
        let solution = match block_on(statistics.solve(device, gamma, &mut |_| ())) {
            Ok(solution) => solution,
            Err(e @ (Error::IllConditioned { .. } | Error::NotPositiveDefinite { .. })) if allowed.is_infinite() => {
                println!("m = {m}, condition {condition:e}: refused ({e})");
                continue;
            }
            Err(e) => return Err(e),
        };
        let got: Vec<f64> = block_on(device.read(&solution.weights))?;
        let of = |at: usize| want[(at % m, at / m)];
        assert!(got.iter().all(|x| x.is_finite()), "W is finite");
        let worst = |size: &dyn Fn(usize) -> f64| (0..got.len()).map(|at| size(at).abs()).fold(0.0, f64::max);
        let error = worst(&|at| got[at] - of(at)) / worst(&of);
        println!(
            "m = {m}, condition {condition:e}: W differs by {error:.1e} from float64's, residual {:.1e}",
            solution.residual
        );
        assert!(error <= allowed && solution.residual <= 1e-6, "W is allowed to differ by {allowed:e}");
    }
    Ok(())
}
