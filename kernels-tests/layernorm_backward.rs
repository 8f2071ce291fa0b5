//! Gradient of layer normalisation.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::layernorm_backward::LayerNormBackward;

use crate::harness::{Case, Output, case, guarded, input, numbers, output, poisoned};
use crate::layernorm::{SIZES, depth, moments};

const EPS: f64 = f32::EPSILON as f64;

fn gradient(device: &Device, [rows, cols]: [usize; 2], accumulate: bool) -> Result<Vec<Output>> {
    let n = rows * cols;
    let (x, gamma, dy, before) = (numbers(1, n), numbers(2, cols), numbers(3, n), numbers(4, n));
    let (mut stats, mut bound) = (Vec::new(), Vec::new());
    for (row, dy) in x.chunks_exact(cols).zip(dy.chunks_exact(cols)) {
        let (mean, var) = moments(row);
        stats.extend([mean as f32, (var + 1e-5).sqrt().recip() as f32]);
        let [mean, rstd] = [stats[stats.len() - 2], stats[stats.len() - 1]].map(f64::from);
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
    }
    let (x, gamma) = (input(device, &x, &[rows, cols])?, input(device, &gamma, &[cols])?);
    let (stats, dy) = (input(device, &stats, &[rows, 2])?, input(device, &dy, &[rows, cols])?);
    device.run(&LayerNormBackward { accumulate, ..LayerNormBackward::new(&x, &gamma, &stats, &dy, &dx)? })?;
    Ok(vec![output("dx", dx, bound)])
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
