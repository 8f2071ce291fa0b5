//! Features of a class as a normal distribution that new ones are drawn from.

use super::factor::HostFactor;
use super::prototype::{affine, covariance};
use super::tiles::HostTiles;
use crate::Result;
use crate::device::{Device, Tensor};

/// A normal distribution of d numbers. It is kept in host memory: a class takes `8 d (d + 1) / 2` bytes.
#[derive(Clone, Debug)]
pub struct Gaussian {
    /// mu `[d]`.
    pub mean: Vec<f64>,
    /// The lower triangle of L, row after row, where `L L^T` is the covariance.
    pub factor: Vec<f64>,
}

impl Gaussian {
    /// Of rows [n, d], at least 2 of them, with this `mean` and the covariance `S + ridge I`, S with divisor n - 1. L is what
    /// `device` can hold of it.
    ///
    /// # Errors
    /// [`crate::Error::NotPositiveDefinite`], [`crate::Error::OutOfMemory`].
    pub fn of(device: &Device, rows: &[f64], mean: &[f64], ridge: f64) -> Result<Self> {
        let (d, covariance) = (mean.len(), covariance(rows, mean));
        let mut lower = HostTiles::zeros(d)?;
        lower.fill(0..d, |i, j| covariance[i * d + j]);
        lower.shift(ridge);
        let mut factor = HostFactor::new(lower, &mut |_| ())?.packed();
        if !device.is_double() {
            factor.iter_mut().for_each(|x| *x = f64::from(*x as f32));
        }
        Ok(Self { mean: mean.to_vec(), factor })
    }

    /// L [d, d] row after row.
    fn lower(&self) -> Vec<f64> {
        let d = self.mean.len();
        let mut lower = vec![0.0; d * d];
        for (i, row) in lower.chunks_mut(d).enumerate() {
            row[..=i].copy_from_slice(&self.factor[i * (i + 1) / 2..][..=i]);
        }
        lower
    }

    /// `L L^T` [d, d].
    pub fn covariance(&self) -> Vec<f64> {
        let (d, lower) = (self.mean.len(), self.lower());
        let rows: Vec<_> = lower.chunks(d).collect();
        let entry = |at: usize| rows[at / d].iter().zip(rows[at % d]).map(|(x, y)| x * y).sum::<f64>();
        (0..d * d).map(entry).collect()
    }

    /// `scale mu + L z` [n, d] for the rows z [n, d].
    ///
    /// # Errors
    /// Device errors.
    pub fn sample(&self, device: &Device, z: &Tensor, scale: f64) -> Result<Tensor> {
        let d = self.mean.len();
        let mean: Vec<f64> = self.mean.iter().map(|x| scale * x).collect();
        affine(device, z, &device.upload(&self.lower(), &[d, d])?, &device.upload(&mean, &[d])?)
    }
}

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;
    use crate::device::Precision;

    /// Two features by hand: S = [[2, 1], [1, 2 / 3]], and L = [[2, 0], [1 / 2, 5 / 2]] of the second.
    #[test]
    fn samples_have_the_mean_and_the_covariance() {
        let device = Device::cpu(Precision::F64);
        let rows = [1.0, 0.0, 1.0, 1.0, 2.0, 1.0, 4.0, 2.0];
        let close = |x: &[f64], y: &[f64]| {
            assert!(x.len() == y.len() && x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-14), "{x:?} for {y:?}");
        };
        let of = Gaussian::of(&device, &rows, &[2.0, 1.0], 0.25).unwrap();
        close(&of.covariance(), &[2.25, 1.0, 1.0, 2.0 / 3.0 + 0.25]);
        close(&of.factor, &[1.5, 1.0 / 1.5, (11.0f64 / 12.0 - 4.0 / 9.0).sqrt()]);
        let by_hand = Gaussian { mean: vec![10.0, -20.0], factor: vec![2.0, 0.5, 2.5] };
        let z = device.upload(&[1.0, 2.0, -3.0, 0.0], &[2, 2]).unwrap();
        let drawn: Vec<f64> = block_on(device.read(&by_hand.sample(&device, &z, 0.5).unwrap())).unwrap();
        close(&drawn, &[7.0, -4.5, -1.0, -11.5]);
        // What does not vary needs a ridge.
        assert!(Gaussian::of(&device, &[1.0, 0.0, 2.0, 0.0], &[1.5, 0.0], 0.0).is_err());
        assert!(Gaussian::of(&device, &[1.0, 0.0, 2.0, 0.0], &[1.5, 0.0], 1e-4).is_ok());
    }
}
