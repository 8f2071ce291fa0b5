//! Gradient of layer normalisation.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::layernorm_backward::LayerNormBackward;

use crate::harness::{Case, Output, case, guarded, input, numbers, output, poisoned, rms};
use crate::layernorm::{SIZES, depth, moments};

const EPS: f64 = f32::EPSILON as f64;

fn gradient(device: &Device, [rows, cols]: [usize; 2], accumulate: bool) -> Result<Vec<Output>> {
    let n = rows * cols;
    let (x, gamma, dy, before) = (numbers(1, n), numbers(2, cols), numbers(3, n), numbers(4, n));
    let (mut stats, mut bound, mut naive) = (Vec::new(), Vec::new(), Vec::new());
    let mut sizes = Vec::new();
    for (row, dy) in x.chunks_exact(cols).zip(dy.chunks_exact(cols)) {
        let (mean, var) = moments(row);
        stats.extend([mean as f32, (var + 1e-5).sqrt().recip() as f32]);
        let [mean, rstd] = [stats[stats.len() - 2], stats[stats.len() - 1]].map(f64::from);
        let signed: Vec<_> =
            (0..cols).map(|j| (f64::from(dy[j]) * f64::from(gamma[j]), (f64::from(row[j]) - mean) * rstd)).collect();
        let mean_of = |f: fn(&(f64, f64)) -> f64| signed.iter().map(f).sum::<f64>() / cols as f64;
        let (of_g, of_gx) = (mean_of(|x| x.0), mean_of(|x| x.0 * x.1));
        naive.extend(signed.iter().map(|(g, xhat)| rstd * (g - of_g - xhat * of_gx)));
        sizes.extend(signed.iter().map(|(g, _)| rstd * g));
        let (g, xhat): (Vec<_>, Vec<_>) =
            (0..cols).map(|j| (f64::from(dy[j] * gamma[j]).abs(), ((f64::from(row[j]) - mean) * rstd).abs())).unzip();
        let mean_g = g.iter().sum::<f64>() / cols as f64;
        let mean_gx = g.iter().zip(&xhat).map(|(g, x)| g * x).sum::<f64>() / cols as f64;
        // Absolute sums of this depth with their terms' roundings and a quotient; then three roundings of the result.
        let d = depth(cols) / 2.0;
        bound.extend(
            g.iter()
                .zip(&xhat)
                .map(|(g, xhat)| EPS * rstd * (2.0 * g + (d + 5.0) * mean_g + xhat * (d + 7.0) * mean_gx)),
        );
    }
    let dx = if accumulate { guarded(device, &before, &[rows, cols])? } else { poisoned(device, &[rows, cols])? };
    if accumulate {
        bound.iter_mut().zip(&before).for_each(|(b, x)| *b = 1.5 * *b + EPS * f64::from(x.abs()));
        naive.iter_mut().zip(&before).for_each(|(x, before)| *x += f64::from(*before));
    }
    let (x, gamma) = (input(device, &x, &[rows, cols])?, input(device, &gamma, &[cols])?);
    let (stats, dy) = (input(device, &stats, &[rows, 2])?, input(device, &dy, &[rows, cols])?);
    device.run(&LayerNormBackward { accumulate, x: &x, gamma: &gamma, stats: &stats, dy: &dy, dx: &dx })?;
    let output = output("dx", dx, bound).naive(|| naive);
    // Rows of one element have no gradient.
    Ok(vec![if cols == 1 { output.differences_of(rms(&sizes)) } else { output }])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for size in SIZES {
        all.push(case(format!("layernorm_backward {size:?}"), move |d| gradient(d, size, false)));
        all.push(case(format!("layernorm_backward {size:?} accumulated"), move |d| gradient(d, size, true)));
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    gradient(device, [3, 7], false)?;
    gradient(device, [3, 12], false)?;
    gradient(device, [3, 1031], true).map(drop)
}
