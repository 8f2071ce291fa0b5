//! Noise layers of one-layer maps: what is linear in h is mixed over all modules before it meets the tokens. Where no
//! random numbers are drawn, `y = x + (h M + b) U`, and no pass over the tokens depends on the number of modules.

use super::{Gradients, Noise, NoiseLayer};
use crate::Result;
use crate::device::{Device, Tensor};
use crate::kernels::column_sum::ColumnSum;
use crate::kernels::gemm::{Gemm, Layout, Mat};
use crate::kernels::mean_map::MeanMap;
use crate::kernels::mean_map_backward::MeanMapBackward;

impl NoiseLayer<'_> {
    /// Whether the layer is an affine map of its tokens.
    pub(super) fn affine(&self) -> bool {
        self.layout.layers == 1 && !self.noise.samples()
    }

    /// (M | b) [e + 1, e].
    pub(super) fn mean_map(&self, device: &Device) -> Result<Tensor> {
        let Self { phi, omega, layout, modules, noise, .. } = *self;
        let out = device.reals(&[layout.e + 1, layout.e])?;
        device.run(&MeanMap { phi, omega, out: &out, layout, modules, plain: noise == Noise::Plain })?;
        Ok(out)
    }

    /// `dh = dz M^T, (dM | db) = (h^T dz | sum of the rows of dz)`.
    pub(super) fn backward_affine(
        &self,
        device: &Device,
        x: &Tensor,
        dy: &Tensor,
        want_params: bool,
    ) -> Result<Gradients> {
        let Self { phi, omega, layout, modules, noise, .. } = *self;
        let (rows, e) = (x.rows(), layout.e);
        let (mean, dh) = (self.mean_map(device)?, device.reals(&[rows, e])?);
        let dz = self.up_backward(device, dy)?;
        device.run(&Gemm::of(Layout::NT, [rows, e, e], Mat::of(&dz), Mat::at(&mean, 0, e), Mat::of(&dh)))?;
        let dx = self.down_backward(device, &dh, dy)?;
        if !want_params {
            return Ok(Gradients { dx, phi: None, domega: None });
        }
        let h = self.down(device, x)?;
        let grad = device.reals(&[e + 1, e])?;
        Gemm::of(Layout::TN, [e, e, rows], Mat::of(&h), Mat::of(&dz), Mat::at(&grad, 0, e)).run(device)?;
        device.run(&ColumnSum { out_offset: e * e, ..ColumnSum::of(&dz, &grad) })?;
        let (dphi, domega) = (device.reals(&[layout.len()])?, device.reals(&[1, modules])?);
        let plain = noise == Noise::Plain;
        device.run(&MeanMapBackward {
            phi,
            omega,
            grad: &grad,
            dphi: &dphi,
            domega: &domega,
            layout,
            modules,
            plain,
        })?;
        Ok(Gradients { dx, phi: Some(dphi), domega: Some(domega) })
    }
}
