//! The published way to the same classifier, in float64 on the host's cores.

use faer::linalg::solvers::DenseSolveCore;
use faer::{MatRef, Side};
use minoise::Result;
use minoise::device::{Device, Precision, Tensor};
use minoise::kernels::gemm::{Gemm, Layout};
use pollster::block_on;

/// `out = [out +] alpha product of a and b`.
fn product(device: &Device, layout: Layout, a: &Tensor, b: &Tensor, out: &Tensor, alpha: f32, add: bool) -> Result<()> {
    device.run(&Gemm { alpha, accumulate: add, ..Gemm::new(layout, a, b, out)? })
}

/// The recursive state: R = (G + gamma I)^-1 [m, m] and W [m, C], in float64.
pub struct Recursive {
    pub device: Device,
    r: Tensor,
    /// W [m, C].
    pub w: Tensor,
}

impl Recursive {
    pub fn new(m: usize, classes: usize, gamma: f64) -> Result<Self> {
        let device = Device::cpu(Precision::F64);
        let mut r = vec![0.0; m * m];
        r.iter_mut().step_by(m + 1).for_each(|x| *x = 1.0 / gamma);
        Ok(Self { r: device.upload(&r, &[m, m])?, w: device.zeros(&[m, classes])?, device })
    }

    /// `R -= R p^T (I + p R p^T)^-1 p R`, multiplied from left to right, then `W += R p^T (Y - p W)`.
    pub fn add(&mut self, p: &[f32], labels: &[u32]) -> Result<()> {
        let (device, m, n, classes) = (&self.device, self.r.cols(), labels.len(), self.w.cols());
        let reals = |rows: usize, cols: usize| device.reals(&[rows, cols]);
        let p = device.upload(p, &[n, m])?;
        let identity: Vec<f64> = (0..n * n).map(|i| if i % (n + 1) == 0 { 1.0 } else { 0.0 }).collect();
        let identity = device.upload(&identity, &[n, n])?;
        // R is symmetric.
        let p_r = reals(n, m)?;
        product(device, Layout::NN, &p, &self.r, &p_r, 1.0, false)?;
        let inner = device.reals(&[n, n])?;
        device.copy(&identity, 0, &inner, 0, n * n)?;
        product(device, Layout::NT, &p_r, &p, &inner, 1.0, true)?;
        let inner: Vec<f64> = block_on(device.read(&inner))?;
        let factor = MatRef::from_row_major_slice(&inner, n, n).llt(Side::Lower).expect("positive definite");
        let inverse = factor.inverse();
        let inverse: Vec<f64> = inverse.col_iter().flat_map(|col| col.iter().copied().collect::<Vec<_>>()).collect();
        let inverse = device.upload(&inverse, &[n, n])?;
        let (narrow, square, old) = (reals(m, n)?, reals(m, m)?, reals(m, m)?);
        product(device, Layout::TN, &p_r, &inverse, &narrow, 1.0, false)?;
        product(device, Layout::NN, &narrow, &p, &square, 1.0, false)?;
        device.copy(&self.r, 0, &old, 0, m * m)?;
        product(device, Layout::NN, &square, &old, &self.r, -1.0, true)?;
        let mut wanted = vec![0.0; n * classes];
        labels.iter().enumerate().for_each(|(i, &y)| wanted[i * classes + y as usize] = 1.0);
        let missing = device.upload(&wanted, &[n, classes])?;
        product(device, Layout::NN, &p, &self.w, &missing, -1.0, true)?;
        let gain = reals(m, n)?;
        product(device, Layout::NT, &self.r, &p, &gain, 1.0, false)?;
        product(device, Layout::NN, &gain, &missing, &self.w, 1.0, true)
    }

    /// Multiplications and additions of one update.
    pub fn flops(m: f64, samples: usize, classes: usize) -> f64 {
        let (n, c) = (samples as f64, classes as f64);
        2.0 * m * m * m + 2.0 * n * m * m * 3.0 + 2.0 * n * n * m * 2.0 + 4.0 * n * m * c + 7.0 / 3.0 * n * n * n
    }
}
