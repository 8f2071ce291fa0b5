//! What does one step of noise training cost? A batch forward and backward through a frozen ViT with T noise modules
//! behind every block, cross-entropy of analytic plus auxiliary logits, and SGD on the newest modules and the auxiliary
//! head, upload of the batch included. Profile `paper` samples, has two-layer maps and learns the mixture weights;
//! `official` (its tasks after the first) has one-layer maps and linear branches. Before anything is timed, two steps of a
//! tiny network must agree with the f64 twins.
//!
//! `MINOISE_DEVICE=cpu|auto|WORDS cargo bench --bench train_step -- [FILTER]`; a filter is a part of an id, e.g. `ViT-B`.

mod common;
#[path = "common/network.rs"]
mod network;

use Profile::{Official, Paper};
use common::{Bench, Random, Work, agree};
use minoise::Result;
use minoise::autograd::{Linear, Loss, Tape};
use minoise::device::{Device, Precision, Tensor};
use minoise::model::network::{Behind, Drawn, Network, plain, sampled};
use minoise::model::noise::MixtureSource;
use minoise::model::optimizer::{Optimizer, Parameter, Rule};
use network::{CLASSES, FEATURES, Sizes};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    Paper,
    Official,
}
/// A small backbone on 32 x 32 images in patches of 4, and the usual ones with reduced batches.
const SIZES: [(Sizes, Profile, usize); 7] = [
    (SMALL, Paper, 1),
    (SMALL, Paper, 10),
    (VIT_TI, Paper, 10),
    (VIT_B, Paper, 10),
    (SMALL, Official, 1),
    (SMALL, Official, 10),
    (SMALL, Official, 50),
];
const SMALL: Sizes =
    Sizes { name: "d192-4-blocks", image: 32, patch: 4, dim: 192, depth: 4, heads: 3, d2: 96, batch: 16 };
const VIT_TI: Sizes = Sizes { name: "ViT-Ti", image: 224, patch: 16, dim: 192, depth: 12, heads: 3, d2: 96, batch: 4 };
const VIT_B: Sizes = Sizes { name: "ViT-B", image: 224, patch: 16, dim: 768, depth: 12, heads: 12, d2: 192, batch: 2 };
const TINY: Sizes = Sizes { name: "tiny", image: 8, patch: 4, dim: 32, depth: 2, heads: 2, d2: 8, batch: 3 };
const RULE: Rule = Rule::Sgd { lr: 1e-3, momentum: 0.9, weight_decay: 5e-4 };
/// f32 against f64 through two steps of the tiny network.
const BOUND: f64 = 1e-4;

/// Forward; backward again as much for the operands of every product, but that gradient ends at the first noise layer,
/// scores are made again, and weights get gradients in the newest modules and the auxiliary head alone. One-layer maps
/// that nothing random multiplies are one map.
fn work(sizes: &Sizes, profile: Profile, modules: usize) -> Work {
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

struct Training {
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
    fn new(device: &Device, sizes: Sizes, profile: Profile, modules: usize) -> Result<Self> {
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
            optimizer: Optimizer::new(device, RULE, parameters)?,
            pixels: sizes.pixels(&mut Random::new()),
            labels: (0..sizes.batch).map(|i| (7 * i % CLASSES) as u32).collect(),
            loss: device.zeros(&[1])?,
            step: 0,
        })
    }

    /// Returns the loss and what was learned.
    fn step(&mut self, device: &Device) -> Result<Vec<Tensor>> {
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

fn main() {
    let mut bench = Bench::new("train_step");
    for (sizes, profile, modules) in SIZES {
        let id = format!("{}xB{}/{}", sizes.name, sizes.batch, format!("{profile:?}").to_lowercase());
        bench.time(&id, &format!("T{modules}"), work(&sizes, profile, modules), |device| {
            let tiny = |device: &Device| {
                let mut tiny = Training::new(device, TINY, profile, 3)?;
                tiny.step(device)?;
                tiny.step(device)
            };
            let oracle = Device::cpu(Precision::F64);
            agree(BOUND, (device, &tiny(device)?), (&oracle, &tiny(&oracle)?))?;
            let mut training = Training::new(device, sizes, profile, modules)?;
            let before = device.stats().dispatches;
            training.step(device)?;
            println!("{id}: {} dispatches a step", device.stats().dispatches - before);
            Ok(move |device: &Device| training.step(device))
        });
    }
    bench.finish();
}
