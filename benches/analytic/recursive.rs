//! The recursive way to the same classifier, in float64 on the host's cores: as published, and in the order of products
//! that costs least.

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

/// The order of the products of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From left to right: `((R p^T inner^-1) p) R`, an [m, m] by [m, m] product, and R anew for the gain.
    Published,
    /// `(R p^T inner^-1) (p R)`, no product of more than n m^2 terms; its first factor is the gain as well.
    Least,
}

impl Order {
    pub const ALL: [Self; 2] = [Self::Published, Self::Least];

    pub fn name(self) -> &'static str {
        match self {
            Self::Published => "recursive",
            Self::Least => "recursive-least",
        }
    }
}

/// The recursive state: R = (G + gamma I)^-1 [m, m] and W [m, C], in float64.
pub struct Recursive {
    pub device: Device,
    order: Order,
    r: Tensor,
    /// W [m, C].
    pub w: Tensor,
}

impl Recursive {
    pub fn new(order: Order, m: usize, classes: usize, gamma: f64) -> Result<Self> {
        let device = Device::cpu(Precision::F64);
        let mut r = vec![0.0; m * m];
        r.iter_mut().step_by(m + 1).for_each(|x| *x = 1.0 / gamma);
        Ok(Self { order, r: device.upload(&r, &[m, m])?, w: device.zeros(&[m, classes])?, device })
    }

    /// `R -= R p^T (I + p R p^T)^-1 p R`, then `W += R p^T (Y - p W)` with the new R, whose `R p^T` is the old one's times
    /// `(I + p R p^T)^-1`.
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
        let mut gain = reals(m, n)?;
        product(device, Layout::TN, &p_r, &inverse, &gain, 1.0, false)?;
        match self.order {
            Order::Published => {
                let (square, old) = (reals(m, m)?, reals(m, m)?);
                product(device, Layout::NN, &gain, &p, &square, 1.0, false)?;
                device.copy(&self.r, 0, &old, 0, m * m)?;
                product(device, Layout::NN, &square, &old, &self.r, -1.0, true)?;
                gain = reals(m, n)?;
                product(device, Layout::NT, &self.r, &p, &gain, 1.0, false)?;
            }
            Order::Least => product(device, Layout::NN, &gain, &p_r, &self.r, -1.0, true)?,
        }
        let mut wanted = vec![0.0; n * classes];
        labels.iter().enumerate().for_each(|(i, &y)| wanted[i * classes + y as usize] = 1.0);
        let missing = device.upload(&wanted, &[n, classes])?;
        product(device, Layout::NN, &p, &self.w, &missing, -1.0, true)?;
        product(device, Layout::NN, &gain, &missing, &self.w, 1.0, true)
    }

    /// Multiplications and additions of one update.
    pub fn flops(order: Order, m: f64, samples: usize, classes: usize) -> f64 {
        let (n, c) = (samples as f64, classes as f64);
        let square = match order {
            Order::Published => 2.0 * m * m * m + 6.0 * n * m * m,
            Order::Least => 4.0 * n * m * m,
        };
        square + 4.0 * n * n * m + 4.0 * n * m * c + 7.0 / 3.0 * n * n * n
    }
}
