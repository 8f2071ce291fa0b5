//! Backbone, noise layers and random features as one function from images to random features.

use crate::Result;
use crate::autograd::{Linear, Tape, Var};
use crate::device::{Device, Tensor};
use crate::kernels::column_sum::ColumnSum;
use crate::kernels::gemm::Activation;
use crate::kernels::noise_mix::Noise;
use crate::model::fold::Folded;
use crate::model::noise::NoiseLayers;
use crate::model::vit::Vit;

/// What stands behind the blocks in one forward pass.
#[derive(Clone, Copy, Debug)]
pub enum Behind<'a> {
    /// The folded layers; without any, the frozen backbone.
    Folded(&'a [Folded]),
    /// The layers themselves; `noise(layer)` says how eps is made.
    Layers { noise: fn(Drawn, u32) -> Noise, drawn: Drawn },
}

/// Seed and step of the random numbers of one forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    pub seed: u64,
    pub step: u32,
}

/// Philox normals for every layer.
pub fn sampled(drawn: Drawn, layer: u32) -> Noise {
    Noise::Sample { seed: drawn.seed, layer, step: drawn.step }
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
            Behind::Folded(layers) => layers.get(j).map_or(Ok(x.clone()), |layer| layer.apply(tape, &x)),
            Behind::Layers { noise, drawn } => self.noise.apply(tape, j, &x, noise(drawn, j as u32)),
        })
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
}
