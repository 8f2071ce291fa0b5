//! Backbone, noise layers and random features as one function from images to random features.

use crate::Result;
use crate::autograd::{Linear, Segment, Tape, Var};
use crate::device::{Device, Tensor};
use crate::kernels::column_sum::ColumnSum;
use crate::kernels::gemm::Activation;
use crate::kernels::noise_mix::Noise;
use crate::model::fold::Folded;
use crate::model::noise::{MixtureSource, NoiseLayers};
use crate::model::state::{overwrite, put, upload};
use crate::model::vit::Vit;
use crate::store::Tree;

/// What stands behind the blocks in one forward pass.
#[derive(Clone, Copy, Debug)]
pub enum Behind<'a> {
    /// The folded layers; without any, the frozen backbone.
    Folded(&'a [Folded]),
    /// The layers themselves; `noise(layer)` says how eps is made. With `recompute` a backward pass does each block once more,
    /// instead of keeping what is in it.
    Layers { noise: fn(Drawn, u32) -> Noise, drawn: Drawn, recompute: bool },
}

/// Seed and step of the random numbers of one forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    pub seed: u64,
    pub step: u32,
    /// Rows of tokens that come before these where a batch is taken in parts.
    pub first_row: u32,
}

/// Philox normals for every layer.
pub fn sampled(drawn: Drawn, layer: u32) -> Noise {
    Noise::Sample { seed: drawn.seed, layer, step: drawn.step, first_row: drawn.first_row }
}

/// z = mu + s, as profile `official` trains.
pub fn plain(_: Drawn, _: u32) -> Noise {
    Noise::Plain
}

/// The frozen network and its noise layers.
#[derive(Clone, Debug)]
pub struct Network {
    pub device: Device,
    pub vit: Vit,
    pub noise: NoiseLayers,
    /// R [d1, m].
    pub random: Tensor,
}

impl Network {
    /// Features f [B, d1] of images [B, C, H, W].
    ///
    /// # Errors
    /// Device errors.
    pub fn features(&self, tape: &mut Tape, images: &Tensor, behind: Behind<'_>) -> Result<Var> {
        self.vit.features(tape, images, |tape, j, x| match behind {
            Behind::Folded(layers) => {
                let x = self.vit.block(tape, j, &x)?;
                layers.get(j).map_or(Ok(x.clone()), |layer| layer.apply(tape, &x))
            }
            Behind::Layers { noise, drawn, recompute: false } => self.block(tape, j, &x, noise(drawn, j as u32)),
            Behind::Layers { noise, drawn, recompute: true } => {
                let network = self.clone();
                let segment = move |tape: &mut Tape, x: &Var| network.block(tape, j, x, noise(drawn, j as u32));
                tape.recomputed(&x, Segment::new(segment))
            }
        })
    }

    /// Bytes of what is frozen on the device.
    pub fn bytes(&self) -> u64 {
        self.vit.bytes() + self.noise.bytes() + self.random.bytes()
    }

    /// Block j with its noise layer.
    fn block(&self, tape: &mut Tape, j: usize, x: &Var, noise: Noise) -> Result<Var> {
        let x = self.vit.block(tape, j, x)?;
        self.noise.apply(tape, j, &x, noise)
    }

    /// The same tensors, as `device` sees them: it may be one that only plans.
    pub fn on(&self, device: &Device) -> Self {
        Self {
            device: device.clone(),
            vit: self.vit.on(device),
            noise: self.noise.on(device),
            random: self.random.clone(),
        }
    }

    /// `sum += scale sum_b f[b]` for features f [B, d1]: a part of a prototype.
    ///
    /// # Errors
    /// Device errors.
    pub fn add_features(&self, f: &Tensor, scale: f64, sum: &Tensor) -> Result<()> {
        self.device.run(&ColumnSum {
            x: f,
            out: sum,
            out_offset: 0,
            cols: f.cols(),
            x_offset: 0,
            x_ld: f.cols(),
            rows: f.rows(),
            normalised: None,
            scale,
            accumulate: true,
        })
    }

    /// Random features p = relu(f R) [B, m].
    ///
    /// # Errors
    /// Device errors.
    pub fn random_features(&self, tape: &mut Tape, f: &Var) -> Result<Var> {
        let r = tape.var(&self.random);
        tape.linear(f, Linear { activation: Activation::Relu, ..Linear::new(&r) })
    }

    /// What learning changed: `modules` and, if there are any, of every layer J `layers/J/phi` [modules, P], its mixture, and its branch; where
    /// there are branches, the norms of the backbone are trained with them.
    ///
    /// # Errors
    /// Device errors.
    pub async fn state(&self) -> Result<Tree> {
        let (device, mut tree) = (&self.device, Tree::new());
        tree.set("modules", &self.noise.modules)?;
        if self.noise.modules == 0 {
            return Ok(tree);
        }
        for (j, layer) in self.noise.layers.iter().enumerate() {
            let mut part = Tree::new();
            put(&mut part, "phi", device, &layer.phi).await?;
            match &layer.mixture {
                Some(MixtureSource::Logits(a)) => put(&mut part, "mixture.logits", device, a).await?,
                Some(MixtureSource::Weights(omega)) => put(&mut part, "mixture.weights", device, omega).await?,
                None => {}
            }
            if let Some(branch) = &layer.branch {
                put(&mut part, "branch.weight", device, &branch.weight).await?;
                put(&mut part, "branch.bias", device, &branch.bias).await?;
            }
            tree.graft(&format!("layers/{j}"), part);
        }
        for (name, tensor) in self.trained_norms() {
            put(&mut tree, &format!("norms/{name}"), device, tensor).await?;
        }
        Ok(tree)
    }

    fn trained_norms(&self) -> Vec<(String, &Tensor)> {
        let trained = self.noise.layers.iter().any(|layer| layer.branch.is_some());
        if trained { self.vit.norm_parameters() } else { Vec::new() }
    }

    /// What [`Network::state`] gave, into a network of the same settings.
    ///
    /// # Errors
    /// [`crate::Error::Store`] where it does not fit; allocation failures.
    pub fn restore(&mut self, mut tree: Tree) -> Result<()> {
        let device = &self.device;
        let modules: usize = tree.get("modules")?;
        if modules == 0 {
            return tree.finish();
        }
        let row = self.noise.layout.len();
        for (name, tensor) in self.trained_norms() {
            overwrite(&mut tree, &format!("norms/{name}"), device, tensor)?;
        }
        for (j, layer) in self.noise.layers.iter_mut().enumerate() {
            let mut part = tree.prune(&format!("layers/{j}"));
            layer.phi = upload(&mut part, "phi", device, &[modules, row])?;
            layer.mixture = match (part.has("mixture.logits"), part.has("mixture.weights")) {
                (true, _) => Some(MixtureSource::Logits(upload(&mut part, "mixture.logits", device, &[modules])?)),
                (_, true) => Some(MixtureSource::Weights(upload(&mut part, "mixture.weights", device, &[modules])?)),
                _ => return Err(part.error(format!("layer {j} has modules, but no mixture"))),
            };
            if let Some(branch) = &layer.branch {
                overwrite(&mut part, "branch.weight", device, &branch.weight)?;
                overwrite(&mut part, "branch.bias", device, &branch.bias)?;
            }
            part.finish()?;
        }
        self.noise.modules = modules;
        tree.finish()
    }
}
