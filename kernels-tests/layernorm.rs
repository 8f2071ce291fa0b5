//! Layer normalisation, also of rows far from zero, where a difference of squares would fail.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::layernorm::LayerNorm;

use crate::harness::{Case, Output, case, input, numbers, output, poisoned};

const EPS: f64 = f32::EPSILON as f64;
const VAR_EPS: f32 = 1e-5;

/// Rows, columns: around the lanes of a row (8, 64, 256) and the rows of a workgroup (8), whole quads or not, primes, and
/// more rows than one dimension of workgroups.
pub const SIZES: [[usize; 2]; 11] =
    [[1, 1], [3, 7], [2, 8], [8, 4], [9, 12], [5, 9], [7, 63], [4, 65], [11, 384], [3, 1031], [65_537, 3]];

/// Longest chain of additions in a sum of n: no implementation keeps fewer than four partial sums.
pub fn depth(n: usize) -> f64 {
    n.min(n / 4 + 8) as f64
}

/// Mean and variance of a row in f64.
pub fn moments(row: &[f32]) -> (f64, f64) {
    let n = row.len() as f64;
    let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    (mean, row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n)
}

fn normalise(device: &Device, [rows, cols]: [usize; 2], shift: f32, stats: bool) -> Result<Vec<Output>> {
    let x: Vec<_> = numbers(1, rows * cols).iter().map(|x| x + shift).collect();
    let (gamma, beta) = (numbers(2, cols), numbers(3, cols));
    let (mut bound, mut stats_bound) = (Vec::new(), Vec::new());
    let (mut naive, mut naive_stats) = (Vec::new(), Vec::new());
    for row in x.chunks_exact(cols) {
        let (mean, var) = moments(row);
        let size = row.iter().map(|x| f64::from(x.abs())).sum::<f64>() / cols as f64;
        let rstd = (var + f64::from(VAR_EPS)).sqrt().recip();
        // The mean is a sum of this depth and a quotient (three units). Its error enters the variance squared, next
        // to the roundings of a difference, a square and the sum; the root halves relative errors and, like the
        // quotients, adds three units of its own.
        let mean_error = EPS * (depth(cols) / 2.0 + 3.0) * size;
        let relative = EPS * (depth(cols) / 4.0 + 8.0) + 0.5 * (mean_error * rstd).powi(2);
        stats_bound.extend([mean_error, rstd * relative]);
        naive_stats.extend([mean, rstd]);
        for ((x, gamma), beta) in row.iter().zip(&gamma).zip(&beta) {
            let xhat = (f64::from(*x) - mean) * rstd;
            naive.push(xhat * f64::from(*gamma) + f64::from(*beta));
            let (gamma, beta) = (f64::from(gamma.abs()), f64::from(beta.abs()));
            bound.push(gamma * (mean_error * rstd * 1.5 + xhat.abs() * (relative + 2.0 * EPS)) + EPS * beta);
        }
    }
    let out = poisoned(device, &[rows, cols])?;
    let saved = poisoned(device, &[rows, 2])?;
    let x = input(device, &x, &[rows, cols])?;
    let (gamma, beta) = (input(device, &gamma, &[cols])?, input(device, &beta, &[cols])?);
    let kernel = LayerNorm::new(&x, &gamma, &beta, &out, VAR_EPS);
    let mut outputs = vec![output("out", out.clone(), bound).naive(|| naive)];
    if stats {
        device.run(&LayerNorm { stats: Some(&saved), ..kernel })?;
        outputs.push(output("stats", saved, stats_bound).naive(|| naive_stats));
    } else {
        device.run(&kernel)?;
    }
    Ok(outputs)
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for size in SIZES {
        all.push(case(format!("layernorm {size:?}"), move |d| normalise(d, size, 0.25, false)));
        all.push(case(format!("layernorm {size:?} with stats"), move |d| normalise(d, size, 0.25, true)));
    }
    all.push(case("layernorm [5, 768] around 1000".into(), |d| normalise(d, [5, 768], 1000.0, true)));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    for cols in [7, 12, 1031] {
        normalise(device, [3, cols], 0.0, false)?;
        normalise(device, [3, cols], 0.0, true)?;
    }
    Ok(())
}
