//! The noise layer of two-layer maps as a chain of dispatches: the reference of the fused kernels and the other arm of their benchmark.

use super::{Gradients, NoiseLayer, Operands};
use crate::Result;
use crate::device::{Device, Tensor};
use crate::kernels::activation_backward::ActivationBackward;
use crate::kernels::gemm::{Activation, Gemm, Layout, Mat};
use crate::kernels::noise_combine::{Direction, NoiseCombine, partial_rows};
use crate::kernels::philox_normal::PhiloxNormal;

/// Buffers of one module, used again by the next.
struct Module {
    /// Values before GELU [rows, width], for the backward pass.
    u: Option<Tensor>,
    /// Input of the last layer [rows, width].
    g: Tensor,
    /// (mu | sigma) [rows, width].
    maps: Tensor,
    eps: Option<Tensor>,
}

impl NoiseLayer<'_> {
    /// Columns of (mu | sigma).
    fn width(&self) -> usize {
        self.noise.kinds() * self.layout.e
    }

    fn buffers(&self, device: &Device, rows: usize, backward: bool) -> Result<Module> {
        let wide = || device.reals(&[rows, self.width()]);
        Ok(Module {
            u: backward.then(wide).transpose()?,
            g: wide()?,
            maps: wide()?,
            eps: self.noise.samples().then(|| device.reals(&[rows, self.layout.e])).transpose()?,
        })
    }

    /// h = x D.
    pub(super) fn down(&self, device: &Device, x: &Tensor) -> Result<Tensor> {
        let e = self.layout.e;
        let h = device.reals(&[x.rows(), e])?;
        let mnk = [x.rows(), e, x.cols()];
        device.run(&Gemm::of(Layout::NN, mnk, Mat::of(x), Mat::at(self.proj, 0, e), Mat::of(&h)))?;
        Ok(h)
    }

    /// dz = dy U^T.
    pub(super) fn up_backward(&self, device: &Device, dy: &Tensor) -> Result<Tensor> {
        let (rows, d1, e) = (dy.rows(), dy.cols(), self.layout.e);
        let dz = device.reals(&[rows, e])?;
        let up = Mat::at(self.proj, d1 * e, d1);
        device.run(&Gemm::of(Layout::NT, [rows, e, d1], Mat::of(dy), up, Mat::of(&dz)))?;
        Ok(dz)
    }

    /// dx = dh D^T, with `residual` dy + dh D^T.
    pub(super) fn down_backward(&self, device: &Device, dh: &Tensor, dy: &Tensor, residual: bool) -> Result<Tensor> {
        let (rows, d1, e) = (dy.rows(), dy.cols(), self.layout.e);
        let dx = device.reals(dy.shape())?;
        let product = Gemm::of(Layout::NT, [rows, d1, e], Mat::of(dh), Mat::at(self.proj, 0, e), Mat::of(&dx));
        device.run(&Gemm { residual: residual.then_some(dy), ..product })?;
        Ok(dx)
    }

    /// g = gelu(h W1 + b1) of both maps in one product.
    fn hidden(&self, device: &Device, h: &Tensor, module: usize, to: &Module) -> Result<()> {
        let (layout, e, at) = (self.layout, self.layout.e, module * self.layout.len());
        let mnk = [h.rows(), self.width(), e];
        device.run(&Gemm {
            bias: Some(Mat::at(self.phi, at + layout.b1(), 0)),
            activation: Activation::Gelu,
            pre: to.u.as_ref(),
            ..Gemm::of(Layout::NN, mnk, Mat::of(h), Mat::at(self.phi, at, 2 * e), Mat::of(&to.g))
        })
    }

    /// (mu | sigma) = g W2 + b2.
    fn last(&self, device: &Device, module: usize, to: &Module) -> Result<()> {
        let (layout, e, at) = (self.layout, self.layout.e, module * self.layout.len());
        let g = Mat::of(&to.g).every(e);
        let w2 = Mat::at(self.phi, at + layout.w2(), e).every(e * e);
        device.run(&Gemm {
            bias: Some(Mat::at(self.phi, at + layout.b2(), 0).every(e)),
            batch: self.noise.kinds(),
            ..Gemm::of(Layout::NN, [to.maps.rows(), e, e], g, w2, Mat::of(&to.maps).every(e))
        })
    }

    pub(super) fn draw(&self, device: &Device, module: usize, eps: Option<&Tensor>) -> Result<()> {
        let Some(out) = eps else { return Ok(()) };
        device.run(&PhiloxNormal { out, d2: self.layout.d2, stream: self.noise.stream(module) })
    }

    pub(super) fn combine<'a>(
        &'a self,
        module: usize,
        eps: Option<&'a Tensor>,
        direction: Direction<'a>,
    ) -> NoiseCombine<'a> {
        NoiseCombine { omega: self.omega, eps, direction, e: self.layout.e, module, modules: self.modules }
    }

    pub(super) fn forward_unfused(&self, device: &Device, x: &Tensor, residual: &Tensor, y: &Tensor) -> Result<()> {
        let (rows, d1, e) = (x.rows(), x.cols(), self.layout.e);
        let h = self.down(device, x)?;
        let mixed = if self.layout.layers == 1 { self.mixed_one_layer(device, &h)? } else { self.mixed(device, &h)? };
        let up = Mat::at(self.proj, d1 * e, d1);
        let product = Gemm::of(Layout::NN, [rows, d1, e], Mat::of(&mixed), up, Mat::of(y));
        device.run(&Gemm { residual: Some(residual), ..product })
    }

    /// The mixture, module by module.
    fn mixed(&self, device: &Device, h: &Tensor) -> Result<Tensor> {
        let (m, mixed) = (self.buffers(device, h.rows(), false)?, device.reals(&[h.rows(), self.layout.e])?);
        for i in 0..self.modules {
            self.hidden(device, h, i, &m)?;
            self.last(device, i, &m)?;
            self.draw(device, i, m.eps.as_ref())?;
            let direction = Direction::Forward { maps: &m.maps, mixed: &mixed, keep: i > 0 };
            device.run(&self.combine(i, m.eps.as_ref(), direction))?;
        }
        Ok(mixed)
    }

    pub(super) fn backward_unfused(
        &self,
        device: &Device,
        x: &Tensor,
        dy: &Tensor,
        residual: bool,
        want_params: bool,
    ) -> Result<Gradients> {
        let (rows, e, width) = (x.rows(), self.layout.e, self.width());
        let (h, dz, dh) = (self.down(device, x)?, self.up_backward(device, dy)?, device.reals(&[rows, e])?);
        let m = self.buffers(device, rows, true)?;
        let wide = || device.reals(&[rows, width]);
        let (dmaps, dg, du) = (wide()?, wide()?, wide()?);
        let domega = want_params.then(|| device.reals(&[partial_rows(rows, e), self.modules])).transpose()?;
        for i in 0..self.modules {
            let at = i * self.layout.len();
            self.hidden(device, &h, i, &m)?;
            if want_params {
                self.last(device, i, &m)?;
            }
            self.draw(device, i, m.eps.as_ref())?;
            let scores = domega.as_ref().map(|domega| (&m.maps, domega));
            device.run(&self.combine(i, m.eps.as_ref(), Direction::Backward { dz: &dz, dmaps: &dmaps, scores }))?;
            let w2 = Mat::at(self.phi, at + self.layout.w2(), e).every(e * e);
            let (from, to) = (Mat::of(&dmaps).every(e), Mat::of(&dg).every(e));
            let product = Gemm::of(Layout::NT, [rows, e, e], from, w2, to);
            device.run(&Gemm { batch: self.noise.kinds(), ..product })?;
            let saved = m.u.as_ref().expect("kept for the backward pass");
            device.run(&ActivationBackward { activation: Activation::Gelu, saved, dy: &dg, dx: &du })?;
            let w1 = Mat::at(self.phi, at, 2 * e);
            let product = Gemm::of(Layout::NT, [rows, e, width], Mat::of(&du), w1, Mat::of(&dh));
            device.run(&Gemm { accumulate: i > 0, ..product })?;
        }
        let dx = self.down_backward(device, &dh, dy, residual)?;
        if !want_params {
            return Ok(Gradients { dx, phi: None, domega: None });
        }
        // The buffers still hold the newest module's values.
        let g = Mat::of(&m.g).every(e);
        let newest =
            Operands { h: Mat::of(&h), g, du: Mat::of(&du), dmaps: Mat::of(&dmaps), kinds: self.noise.kinds() };
        Ok(Gradients { dx, phi: Some(self.phi_gradient(device, rows, newest)?), domega })
    }
}
