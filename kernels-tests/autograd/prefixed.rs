//! Attention behind a prefix: gradients of tokens, of the prefix and of both, against differences and between devices.

use libtest_mimic::Trial;
use minoise::Result;
use minoise::autograd::{Linear, Loss, Tape, Var};
use minoise::device::{Device, Tensor};

use super::{BATCH, CLASSES, Graph, Parameter, both};
use crate::harness::random;

/// Attention of which the rows of tokens are trained, those of a prefix, or both, and a head behind it.
struct Prefixed {
    qkv: Tensor,
    prefix: Tensor,
    head: Tensor,
    labels: Tensor,
    loss: Tensor,
    trained: Trained,
}

/// Whether the rows of tokens are trained, and whether those of the prefix are.
type Trained = [bool; 2];

impl Prefixed {
    const TOKENS: usize = 5;
    const ROWS: usize = 5;
    const HEADS: usize = 7;

    fn new(device: &Device, trained: Trained) -> Result<Self> {
        let width = 4 * Self::HEADS;
        Ok(Self {
            qkv: random(device, 51, &[BATCH * Self::TOKENS, 3 * width])?,
            prefix: random(device, 52, &[BATCH, 2, Self::ROWS, width])?,
            head: random(device, 53, &[width, CLASSES])?,
            labels: device.upload_u32(&[4, 0, 2], &[BATCH])?,
            loss: device.zeros(&[1])?,
            trained,
        })
    }
}

impl Graph for Prefixed {
    fn parameters(&self) -> Vec<Parameter> {
        let all = [("qkv", &self.qkv), ("prefix", &self.prefix)].into_iter().zip(self.trained);
        all.filter(|(_, trained)| *trained).map(|((name, x), _)| (name.into(), x.clone(), 0)).collect()
    }

    fn loss(&self) -> &Tensor {
        &self.loss
    }

    fn forward(&self, device: &Device, tracked: &[Tensor]) -> Result<(Tape, Var)> {
        let mut tape = Tape::new(device, tracked);
        let [qkv, prefix, head] = [&self.qkv, &self.prefix, &self.head].map(|t| tape.var(t));
        let y = tape.prefixed_attention(&qkv, Some(&prefix), BATCH, Self::TOKENS, Self::HEADS)?;
        let f = tape.token_mean(&y, BATCH, Self::TOKENS, 0..Self::TOKENS)?;
        let logits = tape.linear(&f, Linear::new(&head))?;
        let root = tape.cross_entropy(&logits, &self.labels, Loss::new(&self.loss, 0, BATCH))?;
        Ok((tape, root))
    }
}

pub(super) fn trials(devices: &[(String, Device)]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (told, trained) in [("both", [true, true]), ("tokens", [true, false]), ("prefix", [false, true])] {
        let of = format!("attention behind a prefix, trained: {told}");
        trials.extend(both(&of, devices, move |device| Prefixed::new(device, trained)));
    }
    trials
}
