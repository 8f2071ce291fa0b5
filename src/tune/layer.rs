//! Noise layers, fused or as a chain of kernels.

use super::kernels::{random, rounding};
use super::{Problem, Tuning, Way};
use crate::Result;
use crate::algorithms::noise::{NoiseLayer, Path};
use crate::device::{Device, Tensor};
use crate::kernels::noise_mix::{Noise, PhiLayout};

/// A noise layer with sampled noise and maps of two layers.
pub(super) struct Layer {
    pub rows: usize,
    pub d1: usize,
    pub d2: usize,
    pub modules: usize,
    pub backward: bool,
}

impl Problem for Layer {
    fn kernel(&self) -> &'static str {
        NoiseLayer::NAME
    }

    fn work(&self, _: &[Tensor]) -> Result<(f64, f64)> {
        let &Self { rows, d1, d2, modules, backward } = self;
        // A product with D or U; one layer of mu and sigma of one module.
        let (outer, inner) = (2 * rows * d1 * d2, 4 * rows * d2 * d2);
        let (weights, x) = (2 * d1 * d2 + 4 * modules * d2 * d2, rows * d1);
        let (flops, numbers) = if backward {
            (3 * outer + (3 * modules + 2) * inner, weights + 3 * x + 4 * d2 * d2)
        } else {
            (2 * outer + 2 * modules * inner, weights + 2 * x)
        };
        Ok((flops as f64, 4.0 * numbers as f64))
    }

    fn tuning(&self, device: &Device, _: &[Tensor]) -> Result<Tuning> {
        let &Self { rows, d1, d2, modules, backward } = self;
        let planner = Device::planner(device.caps().clone());
        let (x, none) = (planner.reals(&[rows, d1])?, &planner.reals(&[0, 0])?);
        let (layout, noise) = (PhiLayout::new(d2, 2)?, Noise::Plain);
        let layer = NoiseLayer { proj: none, phi: none, omega: none, layout, modules, noise };
        let default = if layer.path(&planner, &x, backward) == Path::Fused { "fused" } else { "unfused" };
        let way = |name: &str| Way { variant: name.into(), default: name == default, rounds: false };
        Ok(Tuning {
            kernel: NoiseLayer::NAME,
            class: NoiseLayer::class(backward),
            size: vec![rows, d1, d2, modules],
            ways: ["fused", "unfused"].map(way).into(),
        })
    }

    fn operands(&self, device: &Device) -> Result<Vec<Tensor>> {
        let &Self { rows, d1, d2, modules, .. } = self;
        let layout = PhiLayout::new(d2, 2)?;
        let narrow = |width: usize| 1.7 / (width as f32).sqrt();
        Ok(vec![
            random(device, 1, &[rows, d1], 1.0)?,
            random(device, 2, &[rows, d1], 1.0)?,
            random(device, 3, &[2, d1 * layout.e], narrow(d1))?,
            random(device, 4, &[modules, layout.len()], narrow(d2))?,
            device.upload(&vec![1.0 / modules as f32; modules], &[modules])?,
        ])
    }

    fn pass(&self, device: &Device, operands: &[Tensor], way: Option<&str>) -> Result<Vec<Tensor>> {
        let [x, dy, proj, phi, omega] = operands else { unreachable!("five operands") };
        let (layout, noise) =
            (PhiLayout::new(self.d2, 2)?, Noise::Sample { seed: 1993, layer: 3, step: 7, first_row: 0 });
        let layer = NoiseLayer { proj, phi, omega, layout, modules: self.modules, noise };
        let path = if way == Some("unfused") { Path::Unfused } else { Path::Fused };
        if !self.backward {
            return Ok(vec![layer.forward(device, x, x, path)?]);
        }
        let gradients = layer.backward(device, x, dy, true, path, true)?;
        Ok([gradients.dx].into_iter().chain(gradients.phi).collect())
    }

    /// Normals and GELU agree to 4e-6 between devices; the gradients of weights are sums over rows.
    fn bound(&self, _: bool) -> f64 {
        1e-5 + rounding(self.rows)
    }
}
