//! Noise layers of one-layer maps as products: what is linear in h is mixed over all modules before it meets the tokens.
//! Where no random numbers are drawn, `y = residual + (h M + b) U`, and no pass over the tokens depends on the number of
//! modules; where they are, mu of all modules is that map, and sigma passes module by module.

use super::{Gradients, NoiseLayer};
use crate::Result;
use crate::device::{Device, Tensor};
use crate::kernels::column_sum::ColumnSum;
use crate::kernels::gemm::{Gemm, Layout, Mat};
use crate::kernels::mean_map::MeanMap;
use crate::kernels::mean_map_backward::MeanMapBackward;
use crate::kernels::noise_combine::{Direction, partial_rows};
use crate::kernels::noise_mix::Noise;

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

    /// The mixture `h M + b + sum_i omega_i eps_i sigma_i(h)`.
    pub(super) fn mixed_one_layer(&self, device: &Device, h: &Tensor) -> Result<Tensor> {
        let (rows, e, mean) = (h.rows(), self.layout.e, self.mean_map(device)?);
        let mixed = device.reals(&[rows, e])?;
        let product = Gemm::of(Layout::NN, [rows, e, e], Mat::of(h), Mat::at(&mean, 0, e), Mat::of(&mixed));
        device.run(&Gemm { bias: Some(Mat::at(&mean, e * e, e)), ..product })?;
        if !self.noise.samples() {
            return Ok(mixed);
        }
        let [sigma, eps] = [(); 2].map(|()| device.reals(&[rows, e]));
        let (sigma, eps) = (sigma?, eps?);
        for i in 0..self.modules {
            self.sigma(device, h, i, &sigma)?;
            self.draw(device, i, Some(&eps))?;
            device.run(&self.combine(i, Some(&eps), Direction::Forward { maps: &sigma, mixed: &mixed, keep: true }))?;
        }
        Ok(mixed)
    }

    /// `sigma = h W + b` of one module.
    fn sigma(&self, device: &Device, h: &Tensor, module: usize, sigma: &Tensor) -> Result<()> {
        let (layout, e, at) = (self.layout, self.layout.e, module * self.layout.len());
        let product = Gemm::of(Layout::NN, [h.rows(), e, e], Mat::of(h), self.sigma_weight(module), Mat::of(sigma));
        device.run(&Gemm { bias: Some(Mat::at(self.phi, at + layout.b2() + e, e)), ..product })
    }

    fn sigma_weight(&self, module: usize) -> Mat<'_> {
        let e = self.layout.e;
        Mat::at(self.phi, module * self.layout.len() + self.layout.w2() + e * e, e)
    }

    /// `dh = dz M^T + sum_i omega_i (dz eps_i) W_i^T` with sigma's W_i, `(dM | db) = (h^T dz | sum of the rows of dz)`.
    pub(super) fn backward_one_layer(
        &self,
        device: &Device,
        x: &Tensor,
        dy: &Tensor,
        residual: bool,
        want_params: bool,
    ) -> Result<Gradients> {
        let (rows, e, layout, modules) = (x.rows(), self.layout.e, self.layout, self.modules);
        let (mean, dh) = (self.mean_map(device)?, device.reals(&[rows, e])?);
        let dz = self.up_backward(device, dy)?;
        device.run(&Gemm::of(Layout::NT, [rows, e, e], Mat::of(&dz), Mat::at(&mean, 0, e), Mat::of(&dh)))?;
        let samples = self.noise.samples();
        let h = (want_params || samples).then(|| self.down(device, x)).transpose()?;
        // The last row is that of what is linear in h.
        let parts = if samples { partial_rows(rows, e) } else { 0 };
        let domega = want_params.then(|| device.reals(&[parts + 1, modules])).transpose()?;
        let newest = match &h {
            Some(h) if samples => Some(self.backward_sampled(device, h, &dz, &dh, domega.as_ref())?),
            _ => None,
        };
        let dx = self.down_backward(device, &dh, dy, residual)?;
        let (Some(h), Some(domega)) = (h, domega) else { return Ok(Gradients { dx, phi: None, domega: None }) };
        let grad = device.reals(&[e + 1, e])?;
        Gemm::of(Layout::TN, [e, e, rows], Mat::of(&h), Mat::of(&dz), Mat::at(&grad, 0, e)).run(device)?;
        device.run(&ColumnSum { out_offset: e * e, ..ColumnSum::of(&dz, &grad) })?;
        let (dphi, linear) = (device.reals(&[layout.len()])?, device.reals(&[modules])?);
        device.run(&MeanMapBackward {
            phi: self.phi,
            omega: self.omega,
            grad: &grad,
            dphi: &dphi,
            domega: &linear,
            layout,
            modules,
            plain: self.noise == Noise::Plain,
        })?;
        device.copy(&linear, 0, &domega, parts * modules, modules)?;
        if let Some(dsigma) = newest {
            let to = Mat::at(&dphi, layout.w2() + e * e, e);
            Gemm::of(Layout::TN, [e, e, rows], Mat::of(&h), Mat::of(&dsigma), to).run(device)?;
            device.run(&ColumnSum { out_offset: layout.b2() + e, ..ColumnSum::of(&dsigma, &dphi) })?;
        }
        Ok(Gradients { dx, phi: Some(dphi), domega: Some(domega) })
    }

    /// Sigma's part of dh, module by module, and of omega's gradient; returns `omega_T dz eps_T` of the newest module.
    fn backward_sampled(
        &self,
        device: &Device,
        h: &Tensor,
        dz: &Tensor,
        dh: &Tensor,
        domega: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (rows, e) = (h.rows(), self.layout.e);
        let [sigma, eps, dsigma] = [(); 3].map(|()| device.reals(&[rows, e]));
        let (sigma, eps, dsigma) = (sigma?, eps?, dsigma?);
        let domega = domega.map(|all| all.prefix(&[partial_rows(rows, e), self.modules]));
        for i in 0..self.modules {
            if domega.is_some() {
                self.sigma(device, h, i, &sigma)?;
            }
            self.draw(device, i, Some(&eps))?;
            let scores = domega.as_ref().map(|domega| (&sigma, domega));
            device.run(&self.combine(i, Some(&eps), Direction::Backward { dz, dmaps: &dsigma, scores }))?;
            let product = Gemm::of(Layout::NT, [rows, e, e], Mat::of(&dsigma), self.sigma_weight(i), Mat::of(dh));
            device.run(&Gemm { accumulate: true, ..product })?;
        }
        Ok(dsigma)
    }
}
