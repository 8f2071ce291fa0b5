//! Principal components of a few points of many numbers.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Mat, Par};

use crate::{Error, Result};

/// Points in the plane that shows most of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// One of every point, in units of its numbers.
    pub points: Vec<[f64; 2]>,
    /// Share of the squared distances to the mean that each of the two axes shows.
    pub shares: [f64; 2],
}

/// The first two principal components of `rows`, one of every point and all of the same length: with X the rows less their mean
/// and `X = U S V^T`, the first two columns of U S. The largest entry of a column is positive.
///
/// # Errors
/// [`Error::Shape`] where there are fewer than two points, or fewer than two numbers in one; [`Error::Unsupported`] where
/// the factorisation finds no end.
pub fn plane(rows: &[Vec<f64>]) -> Result<Plane> {
    let (n, width) = (rows.len(), rows.first().map_or(0, Vec::len));
    if n < 2 || width < 2 || rows.iter().any(|row| row.len() != width) {
        return Err(Error::shape("pca", "rows", "at least two, of at least two numbers", [n, width]));
    }
    let mean: Vec<f64> = (0..width).map(|k| rows.iter().map(|row| row[k]).sum::<f64>() / n as f64).collect();
    let x = Mat::from_fn(n, width, |i, k| rows[i][k] - mean[k]);
    let size = n.min(width);
    let (mut s, mut u) = (Diag::zeros(size), Mat::zeros(n, size));
    let (thin, none) = (ComputeSvdVectors::Thin, ComputeSvdVectors::No);
    let mut room = MemBuffer::new(svd_scratch::<f64>(n, width, thin, none, Par::Seq, Default::default()));
    svd(x.as_ref(), s.as_mut(), Some(u.as_mut()), None, Par::Seq, MemStack::new(&mut room), Default::default())
        .map_err(|e| Error::Unsupported(format!("principal components: {e:?}")))?;
    let s = s.column_vector();
    let total = s.iter().map(|x| x * x).sum::<f64>().max(f64::MIN_POSITIVE);
    let axis = |k: usize| -> Vec<f64> {
        let column: Vec<f64> = (0..n).map(|i| u[(i, k)] * s[k]).collect();
        let largest = column.iter().copied().fold(0.0, |top: f64, x| if x.abs() > top.abs() { x } else { top });
        column.into_iter().map(|x| if largest < 0.0 { -x } else { x }).collect()
    };
    let [first, second] = [0, 1].map(axis);
    let points = first.into_iter().zip(second).map(|(x, y)| [x, y]).collect();
    Ok(Plane { points, shares: [0, 1].map(|k| s[k] * s[k] / total) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points on a plane of five dimensions are found where they are, up to sign, whatever their mean.
    #[test]
    fn a_plane_is_found() {
        let (long, short) = ([0.6, 0.0, 0.8, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0]);
        let at = [[-3.0, 1.0], [4.0, 0.5], [1.0, -2.0], [-2.0, 0.5]];
        let rows: Vec<Vec<f64>> =
            at.iter().map(|[a, b]| (0..5).map(|k| 7.0 + a * long[k] + b * short[k]).collect()).collect();
        let got = plane(&rows).unwrap();
        // The coordinates have no mean, but are correlated: distances are what stays.
        let distance = |p: &[[f64; 2]], i: usize, j: usize| (p[i][0] - p[j][0]).hypot(p[i][1] - p[j][1]);
        for (i, j) in (0..4).flat_map(|i| (0..4).map(move |j| (i, j))) {
            assert!((distance(&got.points, i, j) - distance(&at, i, j)).abs() < 1e-12);
        }
        let spread = |k: usize| got.points.iter().map(|p| p[k] * p[k]).sum::<f64>();
        assert!((got.points.iter().map(|p| p[0] * p[1]).sum::<f64>()).abs() < 1e-12 && spread(0) > spread(1));
        assert!((got.shares[0] - spread(0) / (spread(0) + spread(1))).abs() < 1e-12);
        assert!((got.shares[0] + got.shares[1] - 1.0).abs() < 1e-12);
        for k in 0..2 {
            let largest =
                got.points.iter().map(|p| p[k]).fold(0.0, |top: f64, x| if x.abs() > top.abs() { x } else { top });
            assert!(largest > 0.0);
        }
    }

    #[test]
    fn points_that_are_one_and_points_without_numbers() {
        let same = plane(&[vec![1.0, 2.0], vec![1.0, 2.0]]).unwrap();
        assert_eq!((same.points, same.shares), (vec![[0.0; 2]; 2], [0.0; 2]));
        assert!(plane(&[vec![1.0, 2.0]]).is_err());
        assert!(plane(&[vec![1.0], vec![2.0]]).is_err());
        assert!(plane(&[vec![1.0, 2.0], vec![2.0]]).is_err());
    }
}
