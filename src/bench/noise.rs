//! The noise layer, fused and as a chain of kernels, forward and backward (with the gradients of the newest module), with
//! sampled noise. A shape is token rows, embedding, noise width, and layers of a map.

use super::{Random, Work, agree, rounding};
use crate::Result;
use crate::algorithms::noise::{NoiseLayer, Path};
use crate::device::{Device, Tensor};
use crate::kernels::noise_mix::{Noise, PhiLayout};

const SAMPLE: Noise = Noise::Sample { seed: 1993, layer: 3, step: 7, first_row: 0 };
/// Ways through the layer.
pub const DIRECTIONS: [&str; 2] = ["forward", "backward"];
/// Both paths, with their names.
pub const PATHS: [(&str, Path); 2] = [("fused", Path::Fused), ("unfused", Path::Unfused)];

/// Bytes of all operands that the dispatches of one pass read and write, each counted once a dispatch: what a device
/// without caches would move at least. `P` elements of weights a module, `E` a column of units, `X` a token matrix.
pub fn bytes_moved([rows, d1, d2, layers]: [usize; 4], modules: usize, direction: &str, path: Path) -> u64 {
    let layout = PhiLayout::new(d2, layers).expect("layout");
    let two = layers == 2;
    let (x, unit, proj, p) = (rows * d1, rows * layout.e, d1 * layout.e, layout.len());
    // dW1 = h^T du, dW2 = g^T dmaps, biases: the columns of h, g, du, dmaps (du and dmaps twice), and the result; with one
    // layer those of h and dmaps.
    let phi_gradient = if two { 11 * unit + p } else { 5 * unit + p };
    let elements = match (direction, path) {
        // x, D, phi, U -> y; with one layer the mean of the modules is written and read
        ("forward", Path::Fused) => {
            let mean = if two { 0 } else { 2 * layout.e * (layout.e + 1) };
            2 * x + 2 * proj + modules * p + mean
        }
        // x, dy, D, U, phi -> dx, seven or three columns of operands
        (_, Path::Fused) => 3 * x + 2 * proj + modules * p + if two { 7 } else { 3 } * unit + phi_gradient,
        // h = x D; h -> g; g -> maps; eps; maps, eps, mixed -> mixed; mixed, U, x -> y; with one layer the mean of the modules
        // is written and read, h -> mixed; h -> sigma; eps; sigma, eps, mixed -> mixed
        ("forward", Path::Unfused) => {
            let module = p + if two { 3 + 4 + 1 + 5 } else { 2 + 1 + 4 } * unit;
            let linear = if two { 0 } else { modules * p / 2 + 2 * layout.e * (layout.e + 1) + 2 * unit };
            (x + proj + unit) + linear + modules * module + (unit + proj + 2 * x)
        }
        // h, dz; h -> u, g; g -> maps; eps; dz, eps, maps -> dmaps; dmaps -> dg; u, dg -> du; du, dh -> dh; dh, dy -> dx;
        // with one layer h -> sigma; eps; dz, eps, sigma -> dsigma; dsigma, dh -> dh
        (_, Path::Unfused) => {
            let module = 2 * p + if two { 1 + 4 + 4 + 1 + 6 + 4 + 6 + 4 } else { 2 + 1 + 4 + 3 } * unit;
            2 * (x + proj + unit) + modules * module + (unit + proj + 2 * x) + phi_gradient
        }
    };
    4 * elements as u64
}

/// Operations of the products that the function needs, and the operands of its shorter path: the same for both paths, so
/// that their shares of the roofline compare.
pub fn work(shape: [usize; 4], modules: usize, direction: &str) -> Work {
    let [rows, d1, d2, layers] = shape;
    let e = PhiLayout::new(d2, layers).expect("layout").e;
    // h = x D or another product of that size; one layer of mu or sigma, or another product of that size.
    let (outer, inner) = (2 * rows * d1 * e, 2 * rows * e * e);
    let flops = match (direction, layers) {
        ("forward", 2) => 2 * outer + 4 * modules * inner,
        // mu of all modules is one map
        ("forward", _) => 2 * outer + (modules + 1) * inner,
        // h, dz, dx; u, dg and dh of every module; dW1 and dW2 of the newest
        (_, 2) => 3 * outer + (6 * modules + 4) * inner,
        // h, dz, dx; dh of every module; dW of the newest
        _ => 3 * outer + (modules + 3) * inner,
    };
    Work { flops: flops as f64, bytes: bytes_moved(shape, modules, direction, Path::Fused) as f64, images: 0 }
}

/// A layer of that shape with its operands on a device.
#[derive(Debug)]
pub struct Problem {
    x: Tensor,
    dy: Tensor,
    proj: Tensor,
    phi: Tensor,
    omega: Tensor,
    layout: PhiLayout,
    modules: usize,
}

impl Problem {
    /// # Errors
    /// Device errors.
    pub fn new(device: &Device, [rows, d1, d2, layers]: [usize; 4], modules: usize) -> Result<Self> {
        let layout = PhiLayout::new(d2, layers)?;
        let mut numbers = Random::new();
        let mut random = |shape: &[usize], scale: f32| numbers.tensor(device, shape, scale);
        let weight = 1.7 / (d2 as f32).sqrt();
        Ok(Self {
            x: random(&[rows, d1], 1.0)?,
            dy: random(&[rows, d1], 1.0)?,
            proj: random(&[2, d1 * layout.e], 1.7 / (d1 as f32).sqrt())?,
            phi: random(&[modules, layout.len()], weight)?,
            omega: device.upload(&vec![1.0 / modules as f32; modules], &[modules])?,
            layout,
            modules,
        })
    }

    /// One pass.
    ///
    /// # Errors
    /// Device errors.
    pub fn run(&self, device: &Device, direction: &str, path: Path) -> Result<Vec<Tensor>> {
        let Self { proj, phi, omega, layout, modules, .. } = self;
        let layer = NoiseLayer { proj, phi, omega, layout: *layout, modules: *modules, noise: SAMPLE };
        if direction == "forward" {
            return Ok(vec![layer.forward(device, &self.x, &self.x, path)?]);
        }
        let all = layer.backward(device, &self.x, &self.dy, true, path, true)?;
        Ok(vec![all.dx, all.phi.expect("asked for")])
    }

    /// Compares both paths on the same input: sums of at most rows terms.
    ///
    /// # Errors
    /// [`agree`]'s, and device errors.
    pub fn verify(&self, device: &Device, direction: &str) -> Result<()> {
        let [fused, unfused] = PATHS.map(|(_, path)| self.run(device, direction, path));
        agree(rounding(self.x.rows()), (device, &fused?), (device, &unfused?))
    }
}
