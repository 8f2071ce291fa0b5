//! Backbones with adapters of which some hidden numbers are dropped, and a head that compares directions: gradients against
//! differences and between devices.

use libtest_mimic::Trial;
use minoise::Result;
use minoise::autograd::{Loss, Tape, Var};
use minoise::device::{Device, Tensor};
use minoise::model::adapter::{Adapters, Bottleneck, CosineHead, Drops};
use minoise::model::vit::Vit;

use super::{BATCH, CLASSES, Graph, Parameter, both, pretrained};
use crate::harness::{numbers, random, wide};

struct Adapted {
    vit: Vit,
    adapters: Adapters,
    head: CosineHead,
    images: Tensor,
    labels: Tensor,
    loss: Tensor,
    drops: Option<Drops>,
}

impl Adapted {
    /// An odd number, so that rows begin inside blocks of random words.
    const HIDDEN: usize = 5;

    fn new(device: &Device, backbone: &str, dropout: bool) -> Result<Self> {
        let (architecture, weights) = pretrained(backbone)?;
        let (sizes, vit) = (architecture.sizes, Vit::load(device, architecture, weights, false)?);
        let of = Bottleneck { hidden: Self::HIDDEN, scale: 0.7 };
        let adapters = Adapters::new(&vit, of, |_| Ok(vec![0.0; Self::HIDDEN * sizes.dim]))?;
        // Fresh ones are the identity, under which some gradients vanish.
        for (i, p) in adapters.parameters().iter().enumerate() {
            let values: Vec<f64> = wide(&numbers(80 + i as u64, p.len)).iter().map(|x| 0.5 * x).collect();
            device.write(&p.tensor, &values)?;
        }
        let head = CosineHead::new(device, &wide(&numbers(75, CLASSES * sizes.dim)), [CLASSES, sizes.dim])?;
        device.write(&head.scale, &[3.0])?;
        Ok(Self {
            vit,
            adapters,
            head,
            images: random(device, 76, &[BATCH, sizes.channels, sizes.image, sizes.image])?,
            labels: device.upload_u32(&[4, 0, 2], &[BATCH])?,
            loss: device.zeros(&[1])?,
            drops: dropout.then_some(Drops { share: 0.25, seed: 9, step: 4, first: 2 }),
        })
    }
}

impl Graph for Adapted {
    fn parameters(&self) -> Vec<Parameter> {
        let all = self.adapters.parameters().into_iter().chain(self.head.parameters());
        all.map(|p| (p.path, p.tensor, 0)).collect()
    }

    fn loss(&self) -> &Tensor {
        &self.loss
    }

    fn forward(&self, device: &Device, tracked: &[Tensor]) -> Result<(Tape, Var)> {
        let mut tape = Tape::new(device, tracked);
        let f = self.adapters.features(&self.vit, &mut tape, &self.images, self.drops)?;
        let logits = self.head.logits(&mut tape, &f)?;
        let root = tape.cross_entropy(&logits, &self.labels, Loss::new(&self.loss, 0, BATCH))?;
        Ok((tape, root))
    }
}

pub fn trials(devices: &[(String, Device)]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for backbone in ["run-paper-a", "vit-average", "vit-dinov3", "vit-swiglu"] {
        for (told, dropout) in [("adapters", false), ("adapters and dropout", true)] {
            let of = format!("{backbone} with {told}");
            trials.extend(both(&of, devices, move |device| Adapted::new(device, backbone, dropout)));
        }
    }
    trials
}
