//! The analytic classifier: additive statistics of random features, solved by Cholesky (SPEC section 3).

use crate::Result;
use crate::device::{Device, Tensor};
use crate::kernels::cholesky;
use crate::kernels::gemm::{Gemm, Layout};
use crate::kernels::label_sum::LabelSum;

/// `G = gamma I + sum p^T p` [m, m] (lower triangle) and `Q^T = sum onehot(y)^T p` [C, m].
#[derive(Clone, Debug)]
pub struct Statistics {
    pub gram: Tensor,
    /// One row per class.
    pub sums: Tensor,
}

impl Statistics {
    /// `gamma I` and no class.
    ///
    /// # Errors
    /// [`crate::Error::Limit`] where the Gram matrix exceeds one binding.
    pub fn new(device: &Device, features: usize, gamma: f64) -> Result<Self> {
        // The device's limit is met before the host allocates as much.
        let gram = device.reals(&[features, features])?;
        let mut diagonal = vec![0.0; features * features];
        diagonal.iter_mut().step_by(features + 1).for_each(|x| *x = gamma);
        device.write(&gram, &diagonal)?;
        Ok(Self { gram, sums: device.zeros(&[0, features])? })
    }

    /// Widens Q to `classes` classes.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn widen(&mut self, device: &Device, classes: usize) -> Result<()> {
        let m = self.sums.cols();
        let wide = device.zeros(&[classes, m])?;
        device.copy(&self.sums, 0, &wide, 0, self.sums.len())?;
        self.sums = wide;
        Ok(())
    }

    /// A copy that can be added to without touching this one.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn fork(&self, device: &Device) -> Result<Self> {
        let copy = |t: &Tensor| -> Result<Tensor> {
            let new = device.reals(t.shape())?;
            device.copy(t, 0, &new, 0, t.len())?;
            Ok(new)
        };
        Ok(Self { gram: copy(&self.gram)?, sums: copy(&self.sums)? })
    }

    /// Adds a batch of random features p [B, m] with labels `[B]`.
    ///
    /// # Errors
    /// Device errors.
    pub fn add(&self, device: &Device, p: &Tensor, labels: &Tensor) -> Result<()> {
        device.run(&Gemm { accumulate: true, lower: true, ..Gemm::new(Layout::TN, p, p, &self.gram)? })?;
        device.run(&LabelSum::new(p, labels, &self.sums)?)
    }

    /// `W^T = Q^T G^-1` [C, m]; G is used up.
    ///
    /// # Errors
    /// [`crate::Error::NotPositiveDefinite`] and device errors.
    pub async fn solve(self, device: &Device) -> Result<Tensor> {
        let factor = cholesky::factor(device, &self.gram)?;
        let weights = factor.solve(&self.sums)?;
        factor.status().await?;
        Ok(weights)
    }
}
