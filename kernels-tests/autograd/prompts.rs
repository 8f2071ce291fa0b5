//! What prompts are made of, and backbones behind them: gradients against differences and between devices.

use libtest_mimic::Trial;
use minoise::Result;
use minoise::autograd::{Linear, Loss, Tape, Var};
use minoise::device::{Device, Tensor};
use minoise::model::vit::{Beside, Vit};

use super::{BATCH, CLASSES, Graph, Parameter, both, pretrained};
use crate::harness::random;

/// Entries of a pool, numbers of a query, rows of a prefix: one for all images, the others mixed for each.
const POOL: usize = 4;
const QUERY: usize = 8;
const ROWS: [usize; 2] = [1, 2];

const TOKENS: usize = 5;
const WIDTH: usize = 12;
const HEADS: usize = 3;

/// Attention behind a prefix that is mixed from a pool by cosines of queries, and terms of the loss beside the cross-entropy,
/// which sees some of the columns of a head.
struct Mixed {
    query: Tensor,
    qkv: Tensor,
    /// What the cosines are to be like.
    wanted: Tensor,
    minus_one: Tensor,
    keys: Tensor,
    attention: Tensor,
    pool: Tensor,
    shared: Tensor,
    head: Tensor,
    labels: Tensor,
    loss: Tensor,
}

impl Mixed {
    fn new(device: &Device) -> Result<Self> {
        let minus_one: Vec<f64> = (0..POOL * POOL).map(|i| -f64::from(u8::from(i % (POOL + 1) == 0))).collect();
        Ok(Self {
            query: random(device, 61, &[BATCH, QUERY])?,
            qkv: random(device, 62, &[BATCH * TOKENS, 3 * WIDTH])?,
            wanted: random(device, 63, &[BATCH, POOL])?,
            minus_one: device.upload(&minus_one, &[POOL, POOL])?,
            keys: random(device, 64, &[POOL, QUERY])?,
            attention: random(device, 65, &[POOL, QUERY])?,
            pool: random(device, 66, &[POOL, 2 * ROWS[1] * WIDTH])?,
            shared: random(device, 67, &[2, ROWS[0], WIDTH])?,
            head: random(device, 68, &[WIDTH, 3 + CLASSES + 1])?,
            labels: device.upload_u32(&[4, 0, 2], &[BATCH])?,
            loss: device.zeros(&[1])?,
        })
    }
}

impl Graph for Mixed {
    fn parameters(&self) -> Vec<Parameter> {
        let all = [&self.keys, &self.attention, &self.pool, &self.shared, &self.head];
        let names = ["keys", "attention", "pool", "shared", "head"];
        names.into_iter().zip(all).map(|(name, x)| (name.into(), x.clone(), 0)).collect()
    }

    fn loss(&self) -> &Tensor {
        &self.loss
    }

    fn forward(&self, device: &Device, tracked: &[Tensor]) -> Result<(Tape, Var)> {
        let mut tape = Tape::new(device, tracked);
        let [query, qkv, wanted, minus_one] =
            [&self.query, &self.qkv, &self.wanted, &self.minus_one].map(|t| tape.var(t));
        let [keys, attention, pool, shared, head] =
            [&self.keys, &self.attention, &self.pool, &self.shared, &self.head].map(|t| tape.var(t));
        // (q a) . k / |q a| for every entry.
        let (weighted, squares) = (tape.multiply(&attention, &keys)?, tape.multiply(&attention, &attention)?);
        let along = tape.linear(&query, Linear { transposed: true, ..Linear::new(&weighted) })?;
        let query = tape.multiply(&query, &query)?;
        let lengths = tape.linear(&query, Linear { transposed: true, ..Linear::new(&squares) })?;
        let alpha = tape.root_ratio(&along, &lengths)?;
        let own = tape.linear(&alpha, Linear::new(&pool))?;
        let shared = tape.repeat(&shared, BATCH)?;
        let shared = tape.reshape(&shared, &[2 * BATCH, ROWS[0] * WIDTH]);
        let own = tape.reshape(&own, &[2 * BATCH, ROWS[1] * WIDTH]);
        let prefix = tape.concat(&[&shared, &own])?;
        let prefix = tape.reshape(&prefix, &[BATCH, 2, ROWS[0] + ROWS[1], WIDTH]);
        let y = tape.prefixed_attention(&qkv, Some(&prefix), BATCH, TOKENS, HEADS)?;
        let f = tape.token_mean(&y, BATCH, TOKENS, 0..TOKENS)?;
        let logits = tape.linear(&f, Linear::new(&head))?;
        // Two slices of one matrix, beside each other.
        let (left, right) = (tape.columns(&logits, 3..5)?, tape.columns(&logits, 5..3 + CLASSES)?);
        let logits = tape.concat(&[&left, &right])?;
        tape.cross_entropy(&logits, &self.labels, Loss::new(&self.loss, 0, BATCH))?;
        let apart = Linear { transposed: true, residual: Some(&minus_one), ..Linear::new(&keys) };
        let apart = tape.linear(&keys, apart)?;
        tape.inner_loss(&apart, &apart, 0.05, (&self.loss, 0))?;
        let root = tape.inner_loss(&alpha, &wanted, -0.3, (&self.loss, 0))?;
        Ok((tape, root))
    }
}

/// A backbone behind prompts, that all its tokens see from the first block on, or from the second on as a prefix.
struct Prompted {
    vit: Vit,
    images: Tensor,
    prompts: Tensor,
    head: Tensor,
    labels: Tensor,
    loss: Tensor,
    prefix: bool,
}

impl Prompted {
    const ROWS: usize = 3;

    fn new(device: &Device, backbone: &str, prefix: bool) -> Result<Self> {
        let (architecture, weights) = pretrained(backbone)?;
        let sizes = architecture.sizes;
        let rows = if prefix { 2 * Self::ROWS } else { Self::ROWS };
        Ok(Self {
            vit: Vit::load(device, architecture, weights, false)?,
            images: random(device, 71, &[BATCH, sizes.channels, sizes.image, sizes.image])?,
            prompts: random(device, 72, &[BATCH, rows * sizes.dim])?,
            head: random(device, 73, &[sizes.dim, CLASSES])?,
            labels: device.upload_u32(&[4, 0, 2], &[BATCH])?,
            loss: device.zeros(&[1])?,
            prefix,
        })
    }
}

impl Graph for Prompted {
    fn parameters(&self) -> Vec<Parameter> {
        vec![("prompts".into(), self.prompts.clone(), 0), ("head".into(), self.head.clone(), 0)]
    }

    fn loss(&self) -> &Tensor {
        &self.loss
    }

    fn forward(&self, device: &Device, tracked: &[Tensor]) -> Result<(Tape, Var)> {
        let mut tape = Tape::new(device, tracked);
        let (prompts, head) = (tape.var(&self.prompts), tape.var(&self.head));
        let f = if self.prefix {
            let rows = [BATCH, 2, Self::ROWS, self.vit.architecture.sizes.dim];
            let prefix = tape.reshape(&prompts, &rows);
            self.vit.features(&mut tape, &self.images, |tape, j, x| {
                let prefix = (j > 0).then_some(&prefix);
                self.vit.block_beside(tape, j, &x, Beside { prefix, ..Beside::default() })
            })?
        } else {
            self.vit.prompted_features(&mut tape, &self.images, &prompts)?
        };
        let logits = tape.linear(&f, Linear::new(&head))?;
        let root = tape.cross_entropy(&logits, &self.labels, Loss::new(&self.loss, 0, BATCH))?;
        Ok((tape, root))
    }
}

pub fn trials(devices: &[(String, Device)]) -> Vec<Trial> {
    let mut trials = both("a prefix mixed from a pool", devices, Mixed::new);
    for backbone in ["run-paper-a", "vit-average", "vit-clip", "vit-dinov3"] {
        for (told, prefix) in [("prompts", false), ("a prefix", true)] {
            let of = format!("{backbone} behind {told}");
            trials.extend(both(&of, devices, move |device| Prompted::new(device, backbone, prefix)));
        }
    }
    trials
}
