//! Backbone, noise layers and random features as one function from images to random features.

use crate::autograd::{Linear, Segment, Tape, Var};
use crate::device::{Device, Tensor};
use crate::kernels::column_sum::ColumnSum;
use crate::kernels::copy_block::CopyBlock;
use crate::kernels::gemm::{Activation, Mat};
use crate::kernels::layernorm::LayerNorm;
use crate::kernels::noise_mix::Noise;
use crate::kernels::square_sum::{SquareSum, partials};
use crate::model::fold::Folded;
use crate::model::noise::{Branch, MixtureSource, NoiseLayers};
use crate::model::optimizer::Parameter;
use crate::model::state::{overwrite, put, upload};
use crate::model::vit::Vit;
use crate::store::Tree;
use crate::{Error, Result};

/// eps of the LayerNorm that measures scales: what it takes from a standard deviation is taken out again.
const SCALE_EPS: f32 = 1e-6;

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

/// eps = 0, as images are judged.
pub fn mean(_: Drawn, _: u32) -> Noise {
    Noise::Mean
}

/// z = mu + s, as profile `official` trains.
pub fn plain(_: Drawn, _: u32) -> Noise {
    Noise::Plain
}

/// The untouched backbone beside the adapted one.
#[derive(Clone, Debug)]
pub struct Anchor {
    pub vit: Vit,
    /// Ra [d1, m / 2].
    pub random: Tensor,
}

/// The frozen network and its noise layers.
#[derive(Clone, Debug)]
pub struct Network {
    pub device: Device,
    pub vit: Vit,
    pub noise: NoiseLayers,
    /// R [d1, m]; beside an anchor Rb [d1, m - m / 2].
    pub random: Tensor,
    /// Where the first random features come from, if not from the network itself.
    pub anchor: Option<Anchor>,
}

impl Network {
    /// Features f [B, d1] of images [B, C, H, W].
    ///
    /// # Errors
    /// Device errors.
    pub fn features(&self, tape: &mut Tape, images: &Tensor, behind: Behind<'_>) -> Result<Var> {
        self.vit.features(tape, images, |tape, j, x| self.behind(tape, j, &x, behind))
    }

    /// Block j and what stands behind it.
    fn behind(&self, tape: &mut Tape, j: usize, x: &Var, behind: Behind<'_>) -> Result<Var> {
        if let Behind::Layers { noise, drawn, recompute: true } = behind {
            let (network, kept) = (self.clone(), Behind::Layers { noise, drawn, recompute: false });
            return tape.recomputed(x, Segment::new(move |tape, x| network.behind(tape, j, x, kept)));
        }
        let x = self.vit.block(tape, j, x)?;
        self.layer(tape, j, &x, behind)
    }

    /// What stands behind block j, on the tokens that come out of it.
    pub(super) fn layer(&self, tape: &mut Tape, j: usize, x: &Var, behind: Behind<'_>) -> Result<Var> {
        match behind {
            Behind::Folded(layers) => {
                let _part = self.device.part("noise", Some(j));
                layers.get(j).map_or(Ok(x.clone()), |layer| layer.apply(tape, x))
            }
            Behind::Layers { noise, drawn, .. } => self.noise.apply(tape, j, x, noise(drawn, j as u32)),
        }
    }

    /// Features f0 [B, d1] of the anchor, if there is one, and f [B, d1] of the network, for images [B, C, H, W]. They share
    /// the blocks before the first adapted one.
    ///
    /// # Errors
    /// Device errors.
    pub fn anchored(&self, images: &Tensor, behind: Behind<'_>) -> Result<(Option<Tensor>, Tensor)> {
        let (mut tape, mut fork) = (Tape::new(&self.device, []), None);
        let f = self.vit.features(&mut tape, images, |tape, j, x| {
            if j == self.noise.first {
                fork = Some(x.clone());
            }
            self.behind(tape, j, &x, behind)
        })?;
        let floor = match (&self.anchor, fork) {
            (Some(anchor), Some(x)) => {
                let block = |tape: &mut Tape, j, x: Var| anchor.vit.block(tape, j, &x);
                Some(anchor.vit.features_from(&mut tape, self.noise.first, x, block)?.value().clone())
            }
            _ => None,
        };
        Ok((floor, f.value().clone()))
    }

    /// Features f0 [B, d1] of the untouched backbone, for images [B, C, H, W].
    ///
    /// # Errors
    /// Device errors.
    pub fn floor(&self, images: &Tensor) -> Result<Tensor> {
        let vit = self.anchor.as_ref().map_or(&self.vit, |anchor| &anchor.vit);
        Ok(vit.frozen(images)?.0)
    }

    /// The number of random features, m.
    pub fn m(&self) -> usize {
        self.random.cols() + self.still()
    }

    /// How many random features are those of the anchor, which stand first and stay where they are.
    pub fn still(&self) -> usize {
        self.anchor.as_ref().map_or(0, |anchor| anchor.random.cols())
    }

    /// Bytes of what is frozen on the device.
    pub fn bytes(&self) -> u64 {
        let norms = |vit: &Vit| vit.norm_parameters(self.noise.first).iter().map(|(_, t)| t.bytes()).sum::<u64>();
        let anchor = self.anchor.as_ref().map_or(0, |anchor| anchor.random.bytes() + norms(&anchor.vit));
        self.vit.bytes() + self.noise.bytes() + self.random.bytes() + anchor
    }

    /// The same tensors, as `device` sees them: it may be one that only plans.
    pub fn on(&self, device: &Device) -> Self {
        Self {
            device: device.clone(),
            vit: self.vit.on(device),
            noise: self.noise.on(device),
            random: self.random.clone(),
            anchor: self.anchor.as_ref().map(|a| Anchor { vit: a.vit.on(device), random: a.random.clone() }),
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

    /// Random features p = relu(f R) [B, m]; beside an anchor `[relu(f0 Ra) | relu(f Rb)]`, with f0 = `floor`.
    ///
    /// # Errors
    /// [`Error::Shape`] where f0 is missing or of no use; device errors.
    pub fn random_features(&self, tape: &mut Tape, f: &Var, floor: Option<&Tensor>) -> Result<Var> {
        let _part = self.device.part("random features", None);
        let relu = |tape: &mut Tape, f: &Var, random: &Tensor| {
            let r = tape.var(random);
            tape.linear(f, Linear { activation: Activation::Relu, ..Linear::new(&r) })
        };
        let own = relu(tape, f, &self.random)?;
        match (&self.anchor, floor) {
            (None, None) => Ok(own),
            (Some(anchor), Some(floor)) => {
                let floor = tape.var(floor);
                let anchored = relu(tape, &floor, &anchor.random)?;
                tape.concat(&[&anchored, &own])
            }
            (anchor, floor) => {
                let told = |there: bool| if there { "features of an anchor" } else { "none" };
                Err(Error::shape("random features", "f0", told(anchor.is_some()), told(floor.is_some())))
            }
        }
    }

    /// Branches and LayerNorms of the adapted blocks, to be trained.
    pub fn adaptation(&self) -> Vec<Parameter> {
        let branches = self.noise.adapted().filter_map(|(j, layer)| Some((j, layer.branch.as_ref()?)));
        let parts = |(j, branch): (usize, &Branch)| {
            let named = [("weight", &branch.weight), ("bias", &branch.bias)];
            named.map(|(part, tensor)| Parameter::whole(&format!("layers.{j}.branch.{part}"), tensor))
        };
        let norms = self.vit.norm_parameters(self.noise.first);
        let norms = norms.into_iter().map(|(name, tensor)| Parameter::whole(&name, tensor));
        branches.flat_map(parts).chain(norms).collect()
    }

    /// By how much the layer behind every block changes its tokens, `|y - x|_F / |x|_F` with x [B N, d1] before and y behind it,
    /// over images [B, C, H, W].
    ///
    /// # Errors
    /// Device errors.
    pub async fn changes(&self, images: &Tensor, behind: Behind<'_>) -> Result<Vec<f64>> {
        let (device, sizes) = (&self.device, self.vit.architecture.sizes);
        let tokens = images.shape()[0] * self.vit.architecture.tokens();
        let parts = partials(tokens * sizes.dim);
        let sums = device.reals(&[2 * sizes.depth, parts])?;
        self.vit.features(&mut Tape::new(device, []), images, |tape, j, x| {
            let x = self.vit.block(tape, j, &x)?;
            let y = self.layer(tape, j, &x, behind)?;
            let change = device.reals(x.value().shape())?;
            for (of, factor, accumulate) in [(&y, 1.0, false), (&x, -1.0, true)] {
                let [x, out] = [of.value(), &change].map(|tensor| Mat::at(tensor, 0, sizes.dim));
                device.run(&CopyBlock { x, out, rows: tokens, cols: sizes.dim, factor, accumulate })?;
            }
            for (k, x) in [&change, x.value()].into_iter().enumerate() {
                device.run(&SquareSum { x, partials: &sums, slot: (2 * j + k) * parts })?;
            }
            Ok(y)
        })?;
        let sums: Vec<f64> = device.read(&sums).await?;
        let norms: Vec<f64> = sums.chunks(parts).map(|of| of.iter().sum::<f64>().sqrt()).collect();
        Ok(norms.chunks(2).map(|norm| norm[0] / norm[1].max(f64::MIN_POSITIVE)).collect())
    }

    /// Mean standard deviation of the tokens behind every block of the untouched backbone, over images [B, C, H, W].
    ///
    /// # Errors
    /// Device errors.
    pub async fn block_scales(&self, images: &Tensor) -> Result<Vec<f64>> {
        let (vit, device) = (self.anchor.as_ref().map_or(&self.vit, |anchor| &anchor.vit), &self.device);
        let d = vit.architecture.sizes.dim;
        let (one, zero) = (device.upload(&vec![1.0; d], &[d])?, device.zeros(&[d])?);
        let mut stats = Vec::new();
        vit.features(&mut Tape::new(device, []), images, |tape, j, x| {
            let x = vit.block(tape, j, &x)?;
            let (out, of) = (device.reals(x.value().shape())?, device.reals(&[x.value().rows(), 2])?);
            let norm = LayerNorm::new(x.value(), &one, &zero, &out, SCALE_EPS);
            device.run(&LayerNorm { stats: Some(&of), ..norm })?;
            stats.push(of);
            Ok(x)
        })?;
        let mut scales = Vec::new();
        for of in &stats {
            let rows: Vec<f64> = device.read(of).await?;
            // 1 / sqrt(var + eps), var with divisor d; a standard deviation has d - 1.
            let unbiased = d as f64 / (d as f64 - 1.0).max(1.0);
            let std = |row: &[f64]| ((1.0 / (row[1] * row[1]) - f64::from(SCALE_EPS)).max(0.0) * unbiased).sqrt();
            scales.push(rows.chunks(2).map(std).sum::<f64>() / of.rows() as f64);
        }
        Ok(scales)
    }

    /// What learning changed: `modules`; of every adapted layer J, as far as there are any, `layers/J/phi` [modules, P], its
    /// mixture, and its branch; where there are branches, the norms of the backbone are trained with them; `rms`, the scales
    /// of blocks, once they are known.
    ///
    /// # Errors
    /// Device errors.
    pub async fn state(&self) -> Result<Tree> {
        let (device, mut tree) = (&self.device, Tree::new());
        tree.set("modules", &self.noise.modules)?;
        if !self.noise.rms.is_empty() {
            tree.put("rms", &[self.noise.rms.len()], &self.noise.rms);
        }
        for (j, layer) in self.noise.adapted() {
            let mut part = Tree::new();
            if self.noise.modules > 0 {
                put(&mut part, "phi", device, &layer.phi).await?;
            }
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
        if trained { self.vit.norm_parameters(self.noise.first) } else { Vec::new() }
    }

    /// What [`Network::state`] gave, into a network of the same settings.
    ///
    /// # Errors
    /// [`crate::Error::Store`] where it does not fit; allocation failures.
    pub fn restore(&mut self, mut tree: Tree) -> Result<()> {
        let device = &self.device;
        let modules: usize = tree.get("modules")?;
        if tree.has("rms") {
            let rms = tree.take_shaped::<f64>("rms", &[self.noise.layers.len()])?;
            self.noise.scale(&rms)?;
        }
        let row = self.noise.layout.len();
        for (name, tensor) in self.trained_norms() {
            overwrite(&mut tree, &format!("norms/{name}"), device, tensor)?;
        }
        let first = self.noise.first;
        for (j, layer) in self.noise.layers.iter_mut().enumerate().skip(first) {
            let mut part = tree.prune(&format!("layers/{j}"));
            if modules > 0 {
                layer.phi = upload(&mut part, "phi", device, &[modules, row])?;
                layer.mixture = match (part.has("mixture.logits"), part.has("mixture.weights")) {
                    (true, _) => Some(MixtureSource::Logits(upload(&mut part, "mixture.logits", device, &[modules])?)),
                    (_, true) => {
                        Some(MixtureSource::Weights(upload(&mut part, "mixture.weights", device, &[modules])?))
                    }
                    _ => return Err(part.error(format!("layer {j} has modules, but no mixture"))),
                };
            }
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
