//! The noise layer: parameters, and its two equal paths (fused kernels, or a chain of products).

mod one_layer;
mod unfused;

use crate::device::{Caps, Device, DeviceClass, Tensor};
use crate::kernels::column_sum::ColumnSum;
use crate::kernels::gemm::{Gemm, Layout, Mat};
use crate::kernels::noise_mix::{Noise, NoiseMix, PhiLayout, rows_per_lane};
use crate::kernels::noise_mix_backward::{NewestOutputs, NoiseMixBackward, by_rows, operand_cols, partial_rows};
use crate::kernels::{noise_mix, noise_mix_backward};
use crate::{Error, Result};

/// How a noise layer is computed; both give the same up to rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Nothing of size modules x tokens in memory: a kernel each way, or few products where the layer is affine.
    Fused,
    /// Products, noise and mixture as dispatches of their own.
    Unfused,
}

/// Units from which the chain is faster than fused kernels whose lanes cannot take rows.
const WIDE: usize = 64;

/// Whether the device has a fused kernel for so many units.
fn fits(layout: PhiLayout, backward: bool, caps: &Caps) -> bool {
    caps.class == DeviceClass::Cpu
        || if backward {
            noise_mix_backward::row_block(layout, caps).is_ok()
        } else {
            noise_mix::row_block(layout, caps).is_ok()
        }
}

/// Gradients of a noise layer.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// [rows, d1].
    pub dx: Tensor,
    /// `[P]`, of the newest module.
    pub phi: Option<Tensor>,
    /// Partial sums [any, modules] of `<dz, z_i>`, for [`crate::kernels::mixture_backward::MixtureBackward`].
    pub domega: Option<Tensor>,
}

/// One noise layer with its parameters:
/// `y = residual + (sum_i omega_i (mu_i(h) + eps_i sigma_i(h))) U`, `h = x D`, where residual may be x itself.
///
/// # Shapes
/// proj: D [d1, e], then U [e, d1]; phi [>= modules, P], see [`PhiLayout`]; omega [>= modules].
#[derive(Clone, Copy, Debug)]
pub struct NoiseLayer<'a> {
    pub proj: &'a Tensor,
    pub phi: &'a Tensor,
    pub omega: &'a Tensor,
    pub layout: PhiLayout,
    pub modules: usize,
    pub noise: Noise,
}

/// What the gradients of a module's weights are products of; matrices [rows, ..], sigma's part e columns behind mu's.
struct Operands<'a> {
    h: Mat<'a>,
    g: Mat<'a>,
    du: Mat<'a>,
    dmaps: Mat<'a>,
    kinds: usize,
}

impl NoiseLayer<'_> {
    /// Name in the table of an adapter.
    pub const NAME: &'static str = "noise_layer";

    /// What distinguishes passes of one size there.
    pub fn class(backward: bool) -> &'static str {
        if backward { "backward" } else { "forward" }
    }

    /// The faster path for tokens `x`, as it was measured on this device, or in general: the fused one, but for many
    /// wide modules on software devices, where lanes cannot take rows, and for units that a workgroup cannot hold.
    pub fn path(&self, device: &Device, x: &Tensor, backward: bool) -> Path {
        if !fits(self.layout, backward, device.caps()) {
            return Path::Unfused;
        }
        if self.affine() {
            return Path::Fused;
        }
        let (caps, d1, layout, modules) = (device.caps(), x.cols(), self.layout, self.modules);
        // Tables know layers of two-layer maps.
        let known = (layout.layers == 2).then_some(&caps.tuned);
        let size = [x.rows(), d1, layout.e, modules];
        let measured = known.and_then(|tuned| tuned.variant(Self::NAME, Self::class(backward), &size));
        let slow = || {
            let by_rows = match backward {
                false => rows_per_lane(d1, layout, modules, caps).is_some(),
                true => by_rows(d1, layout, modules, caps),
            };
            caps.class == DeviceClass::SoftwareGpu && layout.e >= WIDE && !by_rows
        };
        match measured {
            Some("unfused") => Path::Unfused,
            Some(_) => Path::Fused,
            None if slow() => Path::Unfused,
            None => Path::Fused,
        }
    }

    /// `y` for tokens `x` and `residual` [rows, d1], which may be one tensor.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Unsupported`] where d1 is not a multiple of 4, and what the device refuses.
    pub fn forward(&self, device: &Device, x: &Tensor, residual: &Tensor, path: Path) -> Result<Tensor> {
        self.check(x)?;
        if residual.shape() != x.shape() {
            return Err(Error::shape("noise", "residual", x.shape(), residual.shape()));
        }
        let y = device.reals(x.shape())?;
        let Self { proj, phi, omega, layout, modules, noise } = *self;
        match path {
            Path::Fused => {
                let mean = (layout.layers == 1).then(|| self.mean_map(device)).transpose()?;
                let mean = mean.as_ref();
                device.run(&NoiseMix { x, residual, proj, phi, omega, mean, y: &y, layout, modules, noise })?;
            }
            Path::Unfused => self.forward_unfused(device, x, residual, &y)?,
        }
        Ok(y)
    }

    /// Gradients for `dy` [rows, d1]; those of the newest module and of omega if `want_params`. With `residual`, x is also what
    /// the mixture was added to, and dy a part of dx; otherwise dy is the gradient of the residual alone.
    ///
    /// # Errors
    /// As [`NoiseLayer::forward`].
    pub fn backward(
        &self,
        device: &Device,
        x: &Tensor,
        dy: &Tensor,
        residual: bool,
        path: Path,
        want_params: bool,
    ) -> Result<Gradients> {
        self.check(x)?;
        if dy.shape() != x.shape() {
            return Err(Error::shape("noise", "dy", x.shape(), dy.shape()));
        }
        match path {
            Path::Fused if !self.affine() => self.backward_fused(device, x, dy, residual, want_params),
            Path::Unfused if self.layout.layers == 2 => self.backward_unfused(device, x, dy, residual, want_params),
            _ => self.backward_one_layer(device, x, dy, residual, want_params),
        }
    }

    fn check(&self, x: &Tensor) -> Result<()> {
        let (d1, e) = (x.cols(), self.layout.e);
        if !d1.is_multiple_of(4) {
            return Err(Error::Unsupported(format!("noise: embed_dim {d1} is not a multiple of 4")));
        }
        if self.modules == 0 {
            return Err(Error::Unsupported("noise: a layer without modules is the identity".into()));
        }
        if self.proj.len() != 2 * d1 * e {
            return Err(Error::shape("noise", "proj", [2 * d1 * e], self.proj.shape()));
        }
        if self.phi.cols() != self.layout.len() || self.phi.rows() < self.modules {
            return Err(Error::shape("noise", "phi", [self.modules, self.layout.len()], self.phi.shape()));
        }
        if self.omega.len() < self.modules {
            return Err(Error::shape("noise", "omega", [self.modules], self.omega.shape()));
        }
        Ok(())
    }

    fn backward_fused(
        &self,
        device: &Device,
        x: &Tensor,
        dy: &Tensor,
        residual: bool,
        want_params: bool,
    ) -> Result<Gradients> {
        let Self { proj, phi, omega, layout, modules, noise } = *self;
        let (rows, ld) = (x.rows(), operand_cols(layout));
        let dx = device.reals(x.shape())?;
        let mut kernel =
            NoiseMixBackward { x, proj, phi, omega, dy, dx: &dx, newest: None, residual, layout, modules, noise };
        if !want_params {
            device.run(&kernel)?;
            return Ok(Gradients { dx, phi: None, domega: None });
        }
        let operands = device.reals(&[rows, ld])?;
        let domega = device.reals(&[partial_rows([rows, x.cols()], layout, modules, device.caps())?, modules])?;
        kernel.newest = Some(NewestOutputs { operands: &operands, domega: &domega });
        device.run(&kernel)?;
        let at = |field: usize| Mat::at(&operands, field * layout.e, ld);
        let phi = match layout.layers {
            2 => Operands { h: at(0), g: at(1).every(layout.e), du: at(3), dmaps: at(5), kinds: 2 },
            _ => Operands { h: at(0), g: at(0), du: at(0), dmaps: at(1), kinds: 2 },
        };
        let phi = self.phi_gradient(device, rows, phi)?;
        Ok(Gradients { dx, phi: Some(phi), domega: Some(domega) })
    }

    /// `dW1 = h^T du, dW2 = g^T dmaps`, biases their column sums.
    fn phi_gradient(&self, device: &Device, rows: usize, of: Operands<'_>) -> Result<Tensor> {
        let (layout, e) = (self.layout, self.layout.e);
        let width = of.kinds * e;
        let out = &if of.kinds == 2 { device.reals(&[layout.len()])? } else { device.zeros(&[layout.len()])? };
        let bias = |from: Mat<'_>, out_offset: usize| {
            device.run(&ColumnSum {
                x_offset: from.offset,
                x_ld: from.ld,
                rows,
                cols: width,
                out_offset,
                ..ColumnSum::of(from.tensor, out)
            })
        };
        if layout.layers == 2 {
            Gemm::of(Layout::TN, [e, width, rows], of.h, of.du, Mat::at(out, 0, 2 * e)).run(device)?;
            bias(of.du, layout.b1())?;
        }
        let (dmaps, to) = (of.dmaps.every(e), Mat::at(out, layout.w2(), e).every(e * e));
        Gemm { batch: of.kinds, ..Gemm::of(Layout::TN, [e, e, rows], of.g, dmaps, to) }.run(device)?;
        bias(of.dmaps, layout.b2())?;
        Ok(out.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Choice, Tuned};

    fn path([d1, d2, modules]: [usize; 3], backward: bool, caps: Caps) -> Path {
        let device = Device::planner(caps);
        let (x, none) = (device.reals(&[1000, d1]).unwrap(), &device.reals(&[0, 0]).unwrap());
        let (layout, noise) = (PhiLayout::new(d2, 2).unwrap(), Noise::Plain);
        let layer = NoiseLayer { proj: none, phi: none, omega: none, layout, modules, noise };
        layer.path(&device, &x, backward)
    }

    #[test]
    fn many_wide_modules_are_not_fused_on_software_devices() {
        let software = || Caps { class: DeviceClass::SoftwareGpu, ..Caps::floor() };
        for backward in [false, true] {
            assert_eq!(path([768, 192, 64], backward, Caps::floor()), Path::Fused);
            assert_eq!(path([768, 192, 64], backward, software()), Path::Unfused);
            assert_eq!(path([768, 192, 4], backward, software()), Path::Fused);
            assert_eq!(path([96, 48, 64], backward, software()), Path::Fused);
        }
    }

    #[test]
    fn units_that_no_workgroup_holds_take_the_chain() {
        for backward in [false, true] {
            assert_eq!(path([2048, 256, 4], backward, Caps::floor()), Path::Fused);
            assert_eq!(path([2048, 1200, 4], backward, Caps::floor()), Path::Unfused);
            assert_eq!(path([2048, 1200, 4], backward, Caps::cpu()), Path::Fused);
        }
    }

    #[test]
    fn what_was_measured_decides() {
        let choice = |variant: &str| {
            let (kernel, class) = (NoiseLayer::NAME.into(), NoiseLayer::class(true).into());
            let tuned = vec![Choice { kernel, class, size: vec![1000, 768, 192, 4], variant: variant.into() }];
            Caps { tuned: Tuned::new(tuned), ..Caps::floor() }
        };
        assert_eq!(path([768, 192, 5], true, choice("unfused")), Path::Unfused);
        assert_eq!(path([768, 192, 5], false, choice("unfused")), Path::Fused, "the other direction");
        assert_eq!(path([768, 192, 64], true, choice("unfused")), Path::Fused, "many more modules");
        assert_eq!(path([768, 192, 4], true, choice("fused")), Path::Fused);
    }
}
