//! The gradient step that both profiles take: cross-entropy of analytic plus auxiliary logits.

use std::ops::Range;

use crate::autograd::{Gradients, Linear, Loss, Tape};
use crate::device::{DType, Device, Tensor};
use crate::method::{Batch, Core, Observer, Phase, Point, Stream, Task};
use crate::model::network::{Behind, Drawn};
use crate::model::noise::Noise;
use crate::model::optimizer::{Optimizer, Parameter, Rule};
use crate::model::state::{overwrite, put};
use crate::store::Tree;
use crate::{Error, Result};

/// Steps between two reads of the losses, which stay on the device meanwhile.
const LOSS_READS: usize = 64;

/// What the analytic classifier contributes to the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Main {
    Absent,
    /// A constant.
    Detached,
    /// Passes gradient to the features.
    Through,
}

/// The set-up of one training run.
pub struct Training {
    pub parameters: Vec<Parameter>,
    /// W_aux^T, [classes, m].
    pub aux: Tensor,
    pub aux_bias: Option<Tensor>,
    pub main: Main,
    pub noise: fn(Drawn, u32) -> Noise,
    pub rule: Rule,
    pub seed: u64,
}

impl Training {
    /// Loss of one batch into `loss[slot]`, and the gradients, part by part: `upload` brings images and labels of a range of it.
    fn gradients(
        &self,
        core: &Core,
        batch: usize,
        upload: impl Fn(Range<usize>) -> Result<(Tensor, Tensor)>,
        step: u32,
        (loss, slot): (&Tensor, usize),
    ) -> Result<Gradients> {
        let mut gradients = Gradients::default();
        let size = core.parts.images.min(batch).max(1);
        for start in (0..batch).step_by(size) {
            let (images, labels) = upload(start..batch.min(start + size))?;
            let first_row = (start * core.network.vit.architecture.tokens()) as u32;
            let drawn = Drawn { seed: self.seed, step, first_row };
            let loss = Loss { accumulate: start > 0, ..Loss::new(loss, slot, batch) };
            gradients = self.part(core, (&images, &labels), drawn, loss, gradients)?;
            core.device().flush()?;
        }
        Ok(gradients)
    }

    /// The gradients of a part of a batch, added to those of earlier parts.
    fn part(
        &self,
        core: &Core,
        (images, labels): (&Tensor, &Tensor),
        drawn: Drawn,
        loss: Loss<'_>,
        earlier: Gradients,
    ) -> Result<Gradients> {
        let tracked = self.parameters.iter().map(|p| &p.tensor);
        let mut tape = Tape::new(core.device(), tracked).with_halves(core.parts.halves);
        let behind = Behind::Layers { noise: self.noise, drawn, recompute: core.parts.recompute };
        let f = core.network.features(&mut tape, images, behind)?;
        let p = core.network.random_features(&mut tape, &f)?;
        let main = match self.main {
            Main::Absent => None,
            kind => {
                let w = tape.var(&core.weights);
                let p = if kind == Main::Through { p.clone() } else { p.detach() };
                Some(tape.linear(&p, Linear { transposed: true, ..Linear::new(&w) })?)
            }
        };
        let (aux, bias) = (tape.var(&self.aux), self.aux_bias.as_ref().map(|b| tape.var(b)));
        let op = Linear { transposed: true, bias: bias.as_ref(), residual: main.as_ref(), ..Linear::new(&aux) };
        let logits = tape.linear(&p, op)?;
        let root = tape.cross_entropy(&logits, labels, loss)?;
        tape.backward_onto(&root, earlier)
    }

    /// Plans one step on a batch of each size that the schedule has, and its update.
    pub fn plan(&self, core: &Core, task: &Task) -> Result<()> {
        let mut sizes: Vec<usize> = task.schedule.iter().map(Vec::len).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let loss = core.device().zeros(&[LOSS_READS])?;
        let mut optimizer = Optimizer::new(core.device(), self.rule, self.parameters.clone())?;
        for size in sizes {
            let upload = |range: Range<usize>| {
                let images = task.samples.stand_in(core.device(), range.len())?;
                Ok((images, core.device().empty(&[range.len()], DType::U32)?))
            };
            optimizer.step(&self.gradients(core, size, upload, 0, (&loss, 0))?)?;
        }
        Ok(())
    }
}

/// A training that steps batch by batch.
pub(super) struct Run {
    training: Training,
    optimizer: Optimizer,
    /// Losses that are not yet read.
    loss: Tensor,
    /// Those that are.
    losses: Vec<f64>,
    /// Training steps done.
    done: usize,
    /// Images in them.
    seen: usize,
    /// The step that began the epoch.
    epoch_start: usize,
    stream: Option<Stream>,
}

impl Run {
    /// # Errors
    /// Allocation failures.
    pub fn new(device: &Device, training: Training) -> Result<Self> {
        let optimizer = Optimizer::new(device, training.rule, training.parameters.clone())?;
        let loss = device.zeros(&[LOSS_READS])?;
        Ok(Self { training, optimizer, loss, losses: Vec::new(), done: 0, seen: 0, epoch_start: 0, stream: None })
    }

    /// One training step, one forward pass; true after the last.
    ///
    /// # Errors
    /// Device errors, those of whoever brings the images.
    pub async fn step(&mut self, core: &mut Core, task: &Task, observer: &mut dyn Observer) -> Result<bool> {
        let (device, n) = (core.device().clone(), task.samples.len());
        let Some(idx) = task.schedule.get(self.done) else {
            observer.inspect(Point::Losses(&self.losses))?;
            return Ok(true);
        };
        let resumed = self.stream.is_none();
        if resumed || self.seen.is_multiple_of(n) {
            observer.begin(Phase::Noise, &format!("noise, epoch {}", self.seen / n + 1), n);
            observer.advance(self.seen % n);
        }
        if resumed {
            self.stream = Some(task.samples.stream(batches(task).split_off(self.done))?);
        }
        let pixels = self.stream.as_mut().and_then(Iterator::next);
        let pixels = pixels.ok_or_else(|| Error::Unsupported("the samples end before the task".into()))??;
        let labels: Vec<u32> = idx.iter().map(|&i| task.samples.labels[i]).collect();
        let part = |range: Range<usize>| {
            let images = task.samples.upload(&device, &pixels, range.clone())?;
            Ok((images, device.upload_u32(&labels[range.clone()], &[range.len()])?))
        };
        let slot = (&self.loss, self.done % LOSS_READS);
        let gradients = self.training.gradients(core, idx.len(), part, core.step, slot)?;
        if self.done == 0 {
            observer.inspect(Point::FirstGradients { core, gradients: &gradients, aux: &self.training.aux })?;
        }
        self.optimizer.step(&gradients)?;
        device.flush()?;
        core.step += 1;
        self.done += 1;
        self.seen += idx.len();
        observer.advance(idx.len());
        let over = self.done == task.schedule.len();
        let epoch_over = over || self.seen.is_multiple_of(n);
        if epoch_over || self.done.is_multiple_of(LOSS_READS) {
            self.losses = self.losses(&device).await?;
        }
        if epoch_over {
            let epoch = &self.losses[self.epoch_start..];
            observer.end(Phase::Noise, Some(epoch.iter().sum::<f64>() / epoch.len() as f64));
            self.epoch_start = self.done;
        }
        if over {
            observer.inspect(Point::Losses(&self.losses))?;
        }
        Ok(over)
    }

    /// The losses of all steps done.
    async fn losses(&self, device: &Device) -> Result<Vec<f64>> {
        let slots: Vec<f64> = device.read(&self.loss).await?;
        let mut losses = self.losses.clone();
        losses.extend((losses.len()..self.done).map(|k| slots[k % LOSS_READS]));
        Ok(losses)
    }

    /// How far it is: `losses` of the steps done, `aux`, `aux.bias`, `optimizer`. What it trains in the network is there.
    ///
    /// # Errors
    /// Device errors.
    pub async fn state(&self, core: &Core) -> Result<Tree> {
        let (device, mut tree) = (core.device(), Tree::new());
        tree.put("losses", &[self.done], &self.losses(device).await?);
        put(&mut tree, "aux", device, &self.training.aux).await?;
        if let Some(bias) = &self.training.aux_bias {
            put(&mut tree, "aux.bias", device, bias).await?;
        }
        tree.graft("optimizer", self.optimizer.state().await?);
        Ok(tree)
    }

    /// Goes on from what [`Run::state`] gave.
    ///
    /// # Errors
    /// [`Error::Store`] where it does not fit the task.
    pub fn restore(&mut self, core: &Core, task: &Task, mut tree: Tree) -> Result<()> {
        let device = core.device();
        (_, self.losses) = tree.take::<f64>("losses")?;
        self.done = self.losses.len();
        let Some(done) = task.schedule.get(..self.done) else {
            return Err(tree.error("its training has more steps than the settings ask for"));
        };
        let n = task.samples.len();
        for (i, batch) in done.iter().enumerate() {
            self.seen += batch.len();
            if self.seen.is_multiple_of(n) {
                self.epoch_start = i + 1;
            }
        }
        overwrite(&mut tree, "aux", device, &self.training.aux)?;
        if let Some(bias) = &self.training.aux_bias {
            overwrite(&mut tree, "aux.bias", device, bias)?;
        }
        self.optimizer.restore(tree.prune("optimizer"))?;
        tree.finish()
    }
}

/// The batches of the schedule, each in the epoch that it belongs to.
fn batches(task: &Task) -> Vec<Batch> {
    let mut done = 0;
    let batch = |idx: &Vec<usize>| {
        let epoch = (done / task.samples.len()) as u32;
        done += idx.len();
        Batch { images: idx.clone(), epoch: Some(epoch) }
    };
    task.schedule.iter().map(batch).collect()
}
