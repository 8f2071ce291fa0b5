//! What is tuned: the products and noise layers of three networks.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Problem;
use crate::algorithms::noise::{NoiseLayer, Path};
use crate::device::{Caps, DType, Device, Tensor, Varied, WithPlan};
use crate::kernels::gemm::{Gemm, Layout, Mat, Variant};
use crate::kernels::noise_mix::{Noise, PhiLayout};
use crate::{Error, Result};

/// A network's batch: token rows, embedding, noise width.
struct Network {
    rows: usize,
    d1: usize,
    d2: usize,
}

/// The embedded network with 64 images of 17 tokens; ViT-Ti with 16 and ViT-B with 8 of 197.
const NETWORKS: [Network; 3] = [
    Network { rows: 1088, d1: 96, d2: 48 },
    Network { rows: 3152, d1: 192, d2: 96 },
    Network { rows: 1576, d1: 768, d2: 192 },
];
/// Every number of modules up to 128 is within twice one of these.
const MODULES: [usize; 4] = [1, 4, 16, 64];

pub(super) fn all() -> Vec<Box<dyn Problem>> {
    let mut all: Vec<Box<dyn Problem>> = Vec::new();
    for Network { rows, d1, d2 } in NETWORKS {
        // m, n, k of qkv, projection and both layers of the MLP; the same backward, with the layout turned.
        let backbone = [[rows, 3 * d1, d1], [rows, d1, d1], [rows, 4 * d1, d1], [rows, d1, 4 * d1]];
        let backward = [[rows, d1, 3 * d1], backbone[1], backbone[3], backbone[2]];
        for halves in [false, true] {
            all.extend(backbone.map(|mnk| product(Layout::NT, mnk, halves)));
            all.extend(backward.map(|mnk| product(Layout::NN, mnk, halves)));
        }
        // The noise layer's, weights' gradients among them.
        all.extend([[rows, d2, d1], [rows, 2 * d2, d2]].map(|mnk| product(Layout::NN, mnk, false)));
        all.push(product(Layout::TN, [d2, 2 * d2, rows], false));
        for modules in MODULES {
            for backward in [false, true] {
                all.push(Box::new(Layer { rows, d1, d2, modules, backward }));
            }
        }
    }
    // The head's: random features and logits.
    all.push(product(Layout::NN, [256, 2048, 192], false));
    all.push(product(Layout::NT, [256, 100, 2048], false));
    all
}

/// Operands from a fixed seed.
fn random(device: &Device, seed: u64, shape: &[usize], scale: f32) -> Result<Tensor> {
    device.upload(&numbers(seed, shape, scale), shape)
}

fn numbers(seed: u64, shape: &[usize], scale: f32) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..shape.iter().product()).map(|_| rng.random_range(-scale..scale)).collect()
}

/// Rounding errors of f32 sums of so many terms, relative to the largest entry: they grow like a random walk.
fn rounding(terms: usize) -> f64 {
    4.0 * f64::from(f32::EPSILON) * (terms as f64).sqrt()
}

struct Product {
    layout: Layout,
    mnk: [usize; 3],
    halves: bool,
}

fn product(layout: Layout, mnk: [usize; 3], halves: bool) -> Box<dyn Problem> {
    Box::new(Product { layout, mnk, halves })
}

impl Product {
    fn gemm<'a>(&self, operands: &'a [Tensor], out: &'a Tensor) -> Gemm<'a> {
        let [a, b] = operands else { unreachable!("two operands") };
        Gemm::of(self.layout, self.mnk, Mat::of(a), Mat::of(b), Mat::of(out))
    }

    /// What `f` says of the product, which has operands without contents.
    fn probe<T>(&self, f: impl FnOnce(&Gemm<'_>) -> T) -> Result<T> {
        let planner = Device::planner(Caps::floor());
        let [m, n, k] = self.mnk;
        let b = planner.empty(&[k, n], if self.halves { DType::F16 } else { DType::Real })?;
        Ok(f(&self.gemm(&[planner.reals(&[m, k])?, b], &planner.reals(&[m, n])?)))
    }
}

impl Problem for Product {
    fn kernel(&self) -> &'static str {
        "gemm"
    }

    fn class(&self) -> &'static str {
        self.layout.class(self.halves)
    }

    fn size(&self) -> Vec<usize> {
        let [m, n, k] = self.mnk;
        vec![m, n, k, 1]
    }

    fn work(&self) -> (f64, f64) {
        let [m, n, k] = self.mnk.map(|x| x as f64);
        let b = if self.halves { 2.0 } else { 4.0 };
        (2.0 * m * n * k, 4.0 * (m * k + m * n) + b * n * k)
    }

    fn variants(&self, device: &Device) -> Result<(Vec<String>, String)> {
        self.probe(|gemm| {
            let names = gemm.variants(device.caps()).iter().map(Variant::to_string).collect();
            (names, gemm.variant(device.caps()).expect("tiles always serve").to_string())
        })
    }

    fn operands(&self, device: &Device) -> Result<Vec<Tensor>> {
        let [m, n, k] = self.mnk;
        let a = if self.layout == Layout::TN { [k, m] } else { [m, k] };
        let b = if self.layout == Layout::NT { [n, k] } else { [k, n] };
        let b = if self.halves {
            let halves: Vec<_> = numbers(2, &b, 1.0).into_iter().map(half::f16::from_f32).collect();
            device.upload_f16(&halves, &b)?
        } else {
            random(device, 2, &b, 1.0)?
        };
        Ok(vec![random(device, 1, &a, 1.0)?, b])
    }

    fn pass(&self, device: &Device, operands: &[Tensor], variant: Option<&str>) -> Result<Vec<Tensor>> {
        let out = device.reals(&[self.mnk[0], self.mnk[1]])?;
        let gemm = self.gemm(operands, &out);
        match variant {
            None => device.run(&gemm)?,
            Some(name) => {
                let variant = gemm.variants(device.caps()).into_iter().find(|v| v.to_string() == name);
                let plan = variant.and_then(|v| gemm.planned(v, device.caps()));
                let plan = plan.ok_or_else(|| Error::Unsupported(format!("gemm has no variant `{name}`")))?;
                device.run(&WithPlan(gemm, plan))?;
            }
        }
        Ok(vec![out])
    }

    fn rounds(&self, device: &Device, variant: &str) -> Result<bool> {
        self.probe(|gemm| gemm.variants(device.caps()).into_iter().any(|v| Gemm::rounds(v) && v.to_string() == variant))
    }

    /// Variants that round operands to halves have 2^-11 of every term, and as much of short partial sums.
    fn bound(&self, rounds: bool) -> f64 {
        rounding(self.mnk[2]) + if rounds { 4.0 * f64::from(half::f16::EPSILON) } else { 0.0 }
    }
}

/// A noise layer with sampled noise and maps of two layers.
struct Layer {
    rows: usize,
    d1: usize,
    d2: usize,
    modules: usize,
    backward: bool,
}

impl Problem for Layer {
    fn kernel(&self) -> &'static str {
        NoiseLayer::NAME
    }

    fn class(&self) -> &'static str {
        NoiseLayer::class(self.backward)
    }

    fn size(&self) -> Vec<usize> {
        vec![self.rows, self.d1, self.d2, self.modules]
    }

    fn work(&self) -> (f64, f64) {
        let &Self { rows, d1, d2, modules, backward } = self;
        // A product with D or U; one layer of mu and sigma of one module.
        let (outer, inner) = (2 * rows * d1 * d2, 4 * rows * d2 * d2);
        let (weights, x) = (2 * d1 * d2 + 4 * modules * d2 * d2, rows * d1);
        let (flops, numbers) = if backward {
            (3 * outer + (3 * modules + 2) * inner, weights + 3 * x + 4 * d2 * d2)
        } else {
            (2 * outer + 2 * modules * inner, weights + 2 * x)
        };
        (flops as f64, 4.0 * numbers as f64)
    }

    fn variants(&self, device: &Device) -> Result<(Vec<String>, String)> {
        let planner = Device::planner(device.caps().clone());
        let layout = PhiLayout::new(self.d2, 2)?;
        let [x, none] = [[self.rows, self.d1], [0, 0]].map(|shape| planner.reals(&shape));
        let (x, none) = (x?, &none?);
        let (modules, noise) = (self.modules, Noise::Plain);
        let layer = NoiseLayer { proj: none, phi: none, omega: none, layout, modules, noise };
        let default = if layer.path(&planner, &x, self.backward) == Path::Fused { "fused" } else { "unfused" };
        Ok((["fused", "unfused"].map(String::from).into(), default.into()))
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

    fn pass(&self, device: &Device, operands: &[Tensor], variant: Option<&str>) -> Result<Vec<Tensor>> {
        let [x, dy, proj, phi, omega] = operands else { unreachable!("five operands") };
        let (layout, noise) = (PhiLayout::new(self.d2, 2)?, Noise::Sample { seed: 1993, layer: 3, step: 7 });
        let layer = NoiseLayer { proj, phi, omega, layout, modules: self.modules, noise };
        let path = if variant == Some("unfused") { Path::Unfused } else { Path::Fused };
        if !self.backward {
            return Ok(vec![layer.forward(device, x, path)?]);
        }
        let gradients = layer.backward(device, x, dy, path, true)?;
        Ok([gradients.dx].into_iter().chain(gradients.phi).collect())
    }

    /// Normals and GELU agree to 4e-6 between devices; the gradients of weights are sums over rows.
    fn bound(&self, _: bool) -> f64 {
        1e-5 + rounding(self.rows)
    }
}
