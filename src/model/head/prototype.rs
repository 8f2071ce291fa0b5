//! Classes by the mean and the covariance of their features: gathered in float64 on the host, compared on a device.

use std::ops::Range;

use faer::Accum;

use super::factor::HostFactor;
use super::tiles::HostTiles;
use crate::device::{Device, Tensor};
use crate::kernels::copy_block::CopyBlock;
use crate::kernels::gemm::{Gemm, Layout, Mat};
use crate::kernels::row_unit::{LEAST, RowUnit};
use crate::linalg::{matrix, matrix_mut, product};
use crate::{Error, Result};

/// `unit(v) = v / max(|v|, 1e-12)` of rows [n, d].
pub fn units(rows: &[f64], d: usize) -> Vec<f64> {
    let unit = |row: &[f64]| {
        let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(LEAST);
        row.iter().map(|x| x / norm).collect::<Vec<_>>()
    };
    rows.chunks(d).flat_map(unit).collect()
}

/// The same on a device.
///
/// # Errors
/// Device errors.
pub fn unit_rows(device: &Device, f: &Tensor) -> Result<Tensor> {
    let unit = device.reals(f.shape())?;
    device.run(&RowUnit { x: f, y: &unit, norms: None })?;
    Ok(unit)
}

/// Means [C, d] of the rows [n, d] of each of some classes, which all labels are of; 0 for a class without any.
pub fn class_means(rows: &[f64], d: usize, labels: &[u32], classes: Range<usize>) -> Vec<f64> {
    let (mut means, mut counts) = (vec![0.0; classes.len() * d], vec![0.0f64; classes.len()]);
    for (row, &y) in rows.chunks(d).zip(labels) {
        let c = y as usize - classes.start;
        counts[c] += 1.0;
        means[c * d..][..d].iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    for (mean, n) in means.chunks_mut(d).zip(counts) {
        mean.iter_mut().for_each(|sum| *sum /= n.max(1.0));
    }
    means
}

/// `x W + b` [B, C] for x [B, d], W^T [C, d] and b `[C]`.
///
/// # Errors
/// [`Error::Shape`], device errors.
pub fn affine(device: &Device, x: &Tensor, weights: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let out = device.reals(&[x.rows(), weights.rows()])?;
    device.run(&Gemm { bias: Some(Mat::of(bias)), ..Gemm::new(Layout::NT, x, weights, &out)? })?;
    Ok(out)
}

/// The covariance [d, d] of rows [n, d], at least 2 of them, about their `mean`, with divisor n - 1.
pub fn covariance(rows: &[f64], mean: &[f64]) -> Vec<f64> {
    let d = mean.len();
    let n = rows.len() / d;
    let centred: Vec<f64> = rows.chunks(d).flat_map(|row| row.iter().zip(mean).map(|(x, mu)| x - mu)).collect();
    let centred = matrix(&centred, n, d, d);
    let (mut covariance, divisor) = (vec![0.0; d * d], n as f64 - 1.0);
    product(matrix_mut(&mut covariance, d, d, d), Accum::Replace, centred.transpose(), centred, 1.0 / divisor);
    covariance
}

/// How the features of a class spread, and the map under which they spread equally in all directions.
#[derive(Clone, Debug)]
pub struct Spread {
    /// S [d, d], the covariance.
    pub covariance: Vec<f64>,
    /// N [d, d], the correlations after shrinkage.
    pub correlation: Vec<f64>,
    /// `L^-1` [d, d] for `N = L L^T`.
    pub whitening: Vec<f64>,
}

impl Spread {
    /// Of rows [n, d], at least 2 of them, about their `mean`. With v1 the mean of the diagonal of S and v2 that of its other
    /// entries, `S' = S + a1 v1 I + a2 v2 (1 1^T - I)`, and `N = S' / (r r^T)`, `r = sqrt(diag S')`.
    ///
    /// Source: FeCAM (arXiv 2309.14062), `FeCAM_vit_*.py`.
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`] where N is not; [`Error::OutOfMemory`].
    pub fn of(rows: &[f64], mean: &[f64], [a1, a2]: [f64; 2]) -> Result<Self> {
        let (d, covariance) = (mean.len(), covariance(rows, mean));
        let trace: f64 = (0..d).map(|i| covariance[i * d + i]).sum();
        let others = covariance.iter().sum::<f64>() - trace;
        let shrunk = |i: usize, j: usize| {
            let share = if i == j { a1 * trace / d as f64 } else { a2 * others / (d * (d - 1)) as f64 };
            covariance[i * d + j] + share
        };
        let variances: Vec<f64> = (0..d).map(|i| shrunk(i, i)).collect();
        if let Some(column) = variances.iter().position(|&x| x.is_nan() || x <= 0.0) {
            return Err(Error::NotPositiveDefinite { column, pivot: variances[column] });
        }
        let entry = |at: usize| {
            let (i, j) = (at / d, at % d);
            shrunk(i, j) / (variances[i] * variances[j]).sqrt()
        };
        let correlation: Vec<f64> = (0..d * d).map(entry).collect();
        let mut lower = HostTiles::zeros(d)?;
        lower.fill(0..d, |i, j| correlation[i * d + j]);
        let whitening = HostFactor::new(lower, &mut |_| ())?.inverse();
        Ok(Self { covariance, correlation, whitening })
    }
}

/// A class on a device: `x L^-T + b` is what is left of x when it is whitened about the class's mean.
#[derive(Clone, Debug)]
pub struct Whitened {
    /// `L^-1` [d, d].
    pub map: Tensor,
    /// `-L^-1 mu` `[d]`.
    pub shift: Tensor,
}

impl Whitened {
    /// # Errors
    /// Allocation failures.
    pub fn new(device: &Device, whitening: &[f64], mean: &[f64]) -> Result<Self> {
        let d = mean.len();
        let along = |row: &[f64]| -row.iter().zip(mean).map(|(w, mu)| w * mu).sum::<f64>();
        let shift: Vec<f64> = whitening.chunks(d).map(along).collect();
        Ok(Self { map: device.upload(whitening, &[d, d])?, shift: device.upload(&shift, &[d])? })
    }

    /// A class of which nothing is known yet.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn stand_in(device: &Device, d: usize) -> Result<Self> {
        Ok(Self { map: device.reals(&[d, d])?, shift: device.reals(&[d])? })
    }
}

/// `-|L_c^-1 (u - mu_c)|` [B, C] for rows u [B, d]: the negative Mahalanobis distances.
///
/// # Errors
/// [`Error::Shape`], device errors.
pub fn nearness(device: &Device, u: &Tensor, classes: &[Whitened]) -> Result<Tensor> {
    let (rows, d) = (u.rows(), u.cols());
    let out = device.reals(&[rows, classes.len()])?;
    let (y, unit, norms) = (device.reals(&[rows, d])?, device.reals(&[rows, d])?, device.reals(&[rows])?);
    for (c, class) in classes.iter().enumerate() {
        device.run(&Gemm { bias: Some(Mat::of(&class.shift)), ..Gemm::new(Layout::NT, u, &class.map, &y)? })?;
        device.run(&RowUnit { x: &y, y: &unit, norms: Some(&norms) })?;
        let (x, column) = (Mat::at(&norms, 0, 1), Mat::at(&out, c, classes.len()));
        device.run(&CopyBlock { x, out: column, rows, cols: 1, factor: -1.0, accumulate: false })?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two features by hand, about the mean (2, 1).
    #[test]
    fn covariances_are_shrunk_and_whitened() {
        let rows = [1.0, 0.0, 1.0, 1.0, 2.0, 1.0, 4.0, 2.0];
        let mean = class_means(&rows, 2, &[3; 4], 3..4);
        assert_eq!(mean, [2.0, 1.0]);
        let plain = Spread::of(&rows, &mean, [0.0, 0.0]).unwrap();
        let want = [2.0, 1.0, 1.0, 2.0 / 3.0];
        assert!(plain.covariance.iter().zip(want).all(|(x, y)| (x - y).abs() < 1e-15), "{:?}", plain.covariance);
        // The mean variance is 4 / 3 and the mean covariance 1: S' = [[10 / 3, 3], [3, 2]].
        let shrunk = Spread::of(&rows, &mean, [1.0, 2.0]).unwrap_err();
        assert!(matches!(shrunk, Error::NotPositiveDefinite { column: 1, .. }), "{shrunk}");
        let Spread { correlation, whitening: w, .. } = Spread::of(&rows, &mean, [1.0, 0.5]).unwrap();
        let rho = 1.5 / (20f64 / 3.0).sqrt();
        let close = |x: f64, y: f64| assert!((x - y).abs() < 1e-14, "{x} for {y}");
        correlation.iter().zip([1.0, rho, rho, 1.0]).for_each(|(&x, y)| close(x, y));
        // L^-1 N L^-T = I.
        let half = |i: usize, l: usize| w[2 * i] * correlation[l] + w[2 * i + 1] * correlation[2 + l];
        let whitened = |i: usize, j: usize| half(i, 0) * w[2 * j] + half(i, 1) * w[2 * j + 1];
        (0..4).for_each(|at| close(whitened(at / 2, at % 2), f64::from(u8::from(at / 2 == at % 2))));
        // What does not vary has no correlations.
        assert!(Spread::of(&[1.0, 0.0, 2.0, 0.0], &[1.5, 0.0], [0.0, 0.0]).is_err());
        assert_eq!(units(&[3.0, 4.0, 0.0, 0.0], 2), [0.6, 0.8, 0.0, 0.0]);
    }
}
