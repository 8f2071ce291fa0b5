//! One step of noise training: a batch forward and backward through a frozen ViT with T noise modules behind every block,
//! cross-entropy of analytic plus auxiliary logits, and SGD on the newest modules and the auxiliary head, upload of the batch
//! included. Profile `paper` samples, has two-layer maps and learns the mixture weights; `official` (its tasks after the
//! first) has one-layer maps and linear branches.

use Profile::{Official, Paper};

use super::network::{CLASSES, FEATURES, Sizes};
use super::{Random, Work, agree};
use crate::Result;
use crate::autograd::{Linear, Loss, Tape};
use crate::device::{Device, Precision, Tensor};
use crate::model::network::{Behind, Drawn, Network, plain, sampled};
use crate::model::noise::MixtureSource;
use crate::model::optimizer::{Optimizer, Parameter, Rule};

/// Which profile of MiN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Paper,
    Official,
}

impl Profile {
    pub fn name(self) -> &'static str {
        if self == Paper { "paper" } else { "official" }
    }
}

const TINY: Sizes = Sizes { name: "tiny", image: 8, patch: 4, dim: 32, depth: 2, heads: 2, d2: 8, batch: 3 };
/// That of the method; a check takes larger steps, so that the gradients are seen in what they change.
const LR: f64 = 1e-3;
const CHECKED_LR: f64 = 1.0;
/// f32 against f64 through two steps of the tiny network.
const BOUND: f64 = 1e-4;

/// Forward; backward again as much for the operands of every product, but that gradient ends at the first noise layer,
/// scores are made again, and weights get gradients in the newest modules and the auxiliary head alone. One-layer maps
/// that nothing random multiplies are one map.
pub fn work(sizes: &Sizes, profile: Profile, modules: usize) -> Work {
    let (rows, dim, d2, depth) = (sizes.rows() as f64, sizes.dim as f64, sizes.d2 as f64, sizes.depth as f64);
    let (outer, inner, t) = (2.0 * rows * dim * d2, 2.0 * rows * d2 * d2, modules as f64);
    let scores = 2.0 * rows * dim * sizes.rows() as f64 / sizes.batch as f64;
    let (noise, weights) = match profile {
        Paper => (5.0 * outer + (10.0 * t + 4.0) * inner, 4.0 * t * d2 * d2),
        Official => (5.0 * outer + 3.0 * inner + 4.0 * rows * dim * dim, 2.0 * t * d2 * d2 + dim * dim),
    };
    let blocks = depth * sizes.block_flops() + (depth - 1.0) * (sizes.block_flops() + 3.0 * scores);
    let heads = 2.0 * (sizes.batch * FEATURES * (sizes.dim + 4 * CLASSES)) as f64;
    let modules = 4.0 * depth * (2.0 * dim * d2 + weights);
    Work {
        flops: blocks + depth * noise + sizes.ends_flops() + heads,
        bytes: 2.0 * (sizes.weight_bytes() + modules),
        images: sizes.batch,
    }
}

/// A network with what it learns.
#[derive(Debug)]
pub struct Training {
    sizes: Sizes,
    profile: Profile,
    network: Network,
    /// W and W_aux, transposed: [classes, m].
    heads: [Tensor; 2],
    optimizer: Optimizer,
    pixels: Vec<f32>,
    labels: Vec<u32>,
    loss: Tensor,
    step: u32,
}

impl Training {
    /// # Errors
    /// Device errors.
    pub fn new(device: &Device, sizes: Sizes, profile: Profile, modules: usize) -> Result<Self> {
        Self::at_rate(device, sizes, profile, modules, LR)
    }

    fn at_rate(device: &Device, sizes: Sizes, profile: Profile, modules: usize, lr: f64) -> Result<Self> {
        let network = match profile {
            Paper => sizes.network(device, 2, modules, false)?,
            Official => sizes.network(device, 1, modules, true)?,
        };
        let heads = [sizes.head(device)?, device.zeros(&[CLASSES, FEATURES])?];
        let row = network.noise.layout.len();
        let mut parameters = vec![Parameter::whole("aux", &heads[1])];
        for (j, layer) in network.noise.layers.iter().enumerate() {
            parameters.push(Parameter::part(&format!("{j}.phi"), &layer.phi, (modules - 1) * row, row));
            if let Some(MixtureSource::Logits(a)) = &layer.mixture {
                parameters.push(Parameter::whole(&format!("{j}.mixture"), a));
            }
        }
        Ok(Self {
            sizes,
            profile,
            network,
            heads,
            optimizer: Optimizer::new(device, Rule::Sgd { lr, momentum: 0.9, weight_decay: 5e-4 }, parameters)?,
            pixels: sizes.pixels(&mut Random::new()),
            labels: (0..sizes.batch).map(|i| (7 * i % CLASSES) as u32).collect(),
            loss: device.zeros(&[1])?,
            step: 0,
        })
    }

    /// Returns the loss and what was learned.
    ///
    /// # Errors
    /// Device errors.
    pub fn step(&mut self, device: &Device) -> Result<Vec<Tensor>> {
        let Sizes { batch, image, .. } = self.sizes;
        let images = device.upload(&self.pixels, &[batch, 3, image, image])?;
        let labels = device.upload_u32(&self.labels, &[batch])?;
        let mut tape = Tape::new(device, self.optimizer.tracked());
        let noise = if self.profile == Paper { sampled } else { plain };
        let behind =
            Behind::Layers { noise, drawn: Drawn { seed: 1993, step: self.step, first_row: 0 }, recompute: false };
        let f = self.network.features(&mut tape, &images, behind)?;
        let p = self.network.random_features(&mut tape, &f, None)?;
        let [main, aux] = self.heads.each_ref().map(|head| tape.var(head));
        let main = tape.linear(&p, Linear { transposed: true, ..Linear::new(&main) })?;
        let logits = tape.linear(&p, Linear { transposed: true, residual: Some(&main), ..Linear::new(&aux) })?;
        let root = tape.cross_entropy(&logits, &labels, Loss::new(&self.loss, 0, labels.len()))?;
        let gradients = tape.backward(&root)?;
        self.optimizer.step(&gradients, 1.0)?;
        device.flush()?;
        self.step += 1;
        Ok([&self.loss].into_iter().chain(self.optimizer.tracked()).cloned().collect())
    }
}

/// Compares two steps of a tiny network with the f64 twins.
///
/// # Errors
/// [`agree`]'s, and device errors.
pub fn verify(device: &Device, profile: Profile) -> Result<()> {
    let tiny = |device: &Device| {
        let mut tiny = Training::at_rate(device, TINY, profile, 3, CHECKED_LR)?;
        tiny.step(device)?;
        tiny.step(device)
    };
    let oracle = Device::cpu(Precision::F64);
    agree(BOUND, (device, &tiny(device)?), (&oracle, &tiny(&oracle)?))
}
