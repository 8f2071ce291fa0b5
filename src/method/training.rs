//! The gradient step that both profiles take: cross-entropy of analytic plus auxiliary logits.

use std::ops::Range;

use crate::autograd::{Gradients, Linear, Loss, Tape, Var};
use crate::device::{DType, Device, Tensor};
use crate::method::features::Features;
use crate::method::random::turns;
use crate::method::{Batch, Core, Observer, Phase, Point, Stream, Task, check_finite};
use crate::model::network::{Behind, Drawn};
use crate::model::noise::Noise;
use crate::model::optimizer::{Optimizer, Parameter, Rule};
use crate::model::pixels;
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

/// The pretext task beside the classes: by how many quarters an image of which class is turned.
#[derive(Clone, Debug)]
pub struct Turned {
    /// Wr^T [4 c, m] for the c classes of the task, thrown away afterwards.
    pub head: Tensor,
    /// The first of them.
    pub first_class: usize,
}

/// The set-up of one training run.
pub struct Training {
    pub parameters: Vec<Parameter>,
    /// W_aux^T, [classes, m].
    pub aux: Tensor,
    pub aux_bias: Option<Tensor>,
    pub main: Main,
    /// W^T [classes, m] of the analytic classifier, times the scale of its logits.
    pub classifier: Tensor,
    pub turned: Option<Turned>,
    pub noise: fn(Drawn, u32) -> Noise,
    pub rule: Rule,
    pub seed: u64,
}

/// Some images of a batch on the device.
struct Seen {
    images: Tensor,
    labels: Tensor,
    /// Features of the untouched backbone, where the network is anchored to them.
    floor: Option<Tensor>,
}

/// The same images as they are, and turned where that is to be told.
struct Given {
    plain: Seen,
    turned: Option<Seen>,
}

impl Training {
    /// Forward passes of a step.
    fn passes(&self) -> u32 {
        1 + u32::from(self.turned.is_some())
    }

    /// Loss of one batch into `loss[slot]`, and the gradients, part by part: `give` brings a range of it.
    fn gradients(
        &self,
        core: &Core,
        batch: usize,
        give: impl Fn(Range<usize>) -> Result<Given>,
        step: u32,
        (loss, slot): (&Tensor, usize),
    ) -> Result<Gradients> {
        let mut gradients = Gradients::default();
        let size = core.parts.images.min(batch).max(1);
        for start in (0..batch).step_by(size) {
            let given = give(start..batch.min(start + size))?;
            let first_row = (start * core.network.vit.architecture.tokens()) as u32;
            let drawn = |pass| Drawn { seed: self.seed, step: step + pass, first_row };
            let to = |accumulate| Loss { accumulate, ..Loss::new(loss, slot, batch) };
            gradients = self.part(core, &given.plain, None, drawn(0), to(start > 0), gradients)?;
            if let (Some(seen), Some(turned)) = (&given.turned, &self.turned) {
                gradients = self.part(core, seen, Some(turned), drawn(1), to(true), gradients)?;
            }
            core.device().flush()?;
        }
        Ok(gradients)
    }

    /// The gradients of a part of a batch, added to those of earlier parts.
    fn part(
        &self,
        core: &Core,
        seen: &Seen,
        turned: Option<&Turned>,
        drawn: Drawn,
        loss: Loss<'_>,
        earlier: Gradients,
    ) -> Result<Gradients> {
        let tracked = self.parameters.iter().map(|p| &p.tensor);
        let forward = core.device().phase("forward");
        let mut tape = Tape::new(core.device(), tracked).with_halves(core.parts.halves);
        let behind = Behind::Layers { noise: self.noise, drawn, recompute: core.parts.recompute };
        let f = core.network.features(&mut tape, &seen.images, behind)?;
        let p = core.network.random_features(&mut tape, &f, seen.floor.as_ref())?;
        let head = core.device().part("head", None);
        let logits = match turned {
            Some(turned) => {
                let head = tape.var(&turned.head);
                tape.linear(&p, Linear { transposed: true, ..Linear::new(&head) })?
            }
            None => self.logits(&mut tape, &p)?,
        };
        let root = tape.cross_entropy(&logits, &seen.labels, loss)?;
        drop((head, forward));
        let _backward = core.device().phase("backward");
        tape.backward_onto(&root, earlier)
    }

    /// `s p W + p W_aux + b`.
    fn logits(&self, tape: &mut Tape, p: &Var) -> Result<Var> {
        let main = match self.main {
            Main::Absent => None,
            kind => {
                let w = tape.var(&self.classifier);
                let p = if kind == Main::Through { p.clone() } else { p.detach() };
                Some(tape.linear(&p, Linear { transposed: true, ..Linear::new(&w) })?)
            }
        };
        let (aux, bias) = (tape.var(&self.aux), self.aux_bias.as_ref().map(|b| tape.var(b)));
        let op = Linear { transposed: true, bias: bias.as_ref(), residual: main.as_ref(), ..Linear::new(&aux) };
        tape.linear(p, op)
    }

    /// Plans one step on a batch of each size that the schedule has, and its update.
    pub fn plan(&self, core: &Core, task: &Task) -> Result<()> {
        let device = core.device();
        let mut sizes: Vec<usize> = task.schedule.iter().map(Vec::len).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let loss = device.zeros(&[LOSS_READS])?;
        let mut optimizer = Optimizer::new(device, self.rule, self.parameters.clone())?;
        for size in sizes {
            let give = |range: Range<usize>| {
                let n = range.len();
                let seen = |images: Tensor| {
                    let labels = device.empty(&[n], DType::U32)?;
                    let d1 = core.network.vit.architecture.sizes.dim;
                    let floor = core.network.anchor.as_ref().map(|_| device.reals(&[n, d1])).transpose()?;
                    Ok::<_, Error>(Seen { images, labels, floor })
                };
                let plain = seen(task.samples.stand_in(device, n)?)?;
                let turned = match &self.turned {
                    None => None,
                    Some(_) => Some(seen(pixels::turned(device, &plain.images, &device.empty(&[n], DType::U32)?)?)?),
                };
                Ok(Given { plain, turned })
            };
            optimizer.step(&self.gradients(core, size, give, 0, (&loss, 0))?, 1.0)?;
        }
        Ok(())
    }
}

/// A training that steps batch by batch.
pub(super) struct Run {
    training: Training,
    /// Its part of the batches of the task.
    lesson: Range<usize>,
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
    /// The setting of its learning rate.
    rate: &'static str,
}

impl Run {
    /// # Errors
    /// Allocation failures.
    pub fn new(device: &Device, training: Training, lesson: Range<usize>, rate: &'static str) -> Result<Self> {
        let optimizer = Optimizer::new(device, training.rule, training.parameters.clone())?;
        let loss = device.zeros(&[LOSS_READS])?;
        let losses = Vec::new();
        Ok(Self { training, lesson, optimizer, loss, losses, done: 0, seen: 0, epoch_start: 0, stream: None, rate })
    }

    /// One training step, one forward pass; true after the last.
    ///
    /// # Errors
    /// [`Error::Diverged`], device errors, those of whoever brings the images.
    pub async fn step(
        &mut self,
        core: &mut Core,
        task: &Task,
        floor: Option<&Features>,
        observer: &mut dyn Observer,
    ) -> Result<bool> {
        let (device, n) = (core.device().clone(), task.samples.len());
        let schedule = &task.schedule[self.lesson.clone()];
        let Some(idx) = schedule.get(self.done) else {
            observer.inspect(Point::Losses(&self.losses))?;
            return Ok(true);
        };
        let resumed = self.stream.is_none();
        if resumed || self.seen.is_multiple_of(n) {
            observer.begin(Phase::Noise, &format!("noise, epoch {}", self.seen / n + 1), n);
            observer.advance(self.seen % n);
        }
        if resumed {
            self.stream = Some(task.samples.stream(batches(schedule, n).split_off(self.done))?);
        }
        let images = device.phase("images");
        let pixels = self.stream.as_mut().and_then(Iterator::next);
        let pixels = pixels.ok_or_else(|| Error::Unsupported("the samples end before the task".into()))??;
        drop(images);
        let labels: Vec<u32> = idx.iter().map(|&i| task.samples.labels[i]).collect();
        let turns = turns(self.training.seed, core.step, idx.len());
        let give = |range: Range<usize>| {
            let _images = device.phase("images");
            let n = range.len();
            let floor_of = |turns: &[u32]| floor.map(|f| f.upload(&device, &idx[range.clone()], turns)).transpose();
            let plain = Seen {
                images: task.samples.upload(&device, &pixels, range.clone())?,
                labels: device.upload_u32(&labels[range.clone()], &[n])?,
                floor: floor_of(&vec![0; n])?,
            };
            let turned = match &self.training.turned {
                None => None,
                Some(turned) => {
                    let turns = &turns[range.clone()];
                    let label = |(y, r): (&u32, &u32)| 4 * (y - turned.first_class as u32) + r;
                    let labels: Vec<u32> = labels[range.clone()].iter().zip(turns).map(label).collect();
                    Some(Seen {
                        images: pixels::turned(&device, &plain.images, &device.upload_u32(turns, &[n])?)?,
                        labels: device.upload_u32(&labels, &[n])?,
                        floor: floor_of(turns)?,
                    })
                }
            };
            Ok(Given { plain, turned })
        };
        let slot = (&self.loss, self.done % LOSS_READS);
        let gradients = self.training.gradients(core, idx.len(), give, core.step, slot)?;
        if self.done == 0 {
            observer.inspect(Point::FirstGradients { core, gradients: &gradients, aux: &self.training.aux })?;
        }
        let update = device.phase("update");
        self.optimizer.step(&gradients, 1.0)?;
        drop(update);
        device.flush()?;
        core.step += self.training.passes();
        self.done += 1;
        self.seen += idx.len();
        observer.advance(idx.len());
        let over = self.done == schedule.len();
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
            // What the last step, behind the last loss, may have left.
            for tensor in self.optimizer.tracked() {
                check_finite("what was trained", &device.read::<f64>(tensor).await?, self.rate)?;
            }
            observer.inspect(Point::Losses(&self.losses))?;
        }
        Ok(over)
    }

    /// The losses of all steps done.
    ///
    /// # Errors
    /// [`Error::Diverged`], device errors.
    async fn losses(&self, device: &Device) -> Result<Vec<f64>> {
        let _phase = device.phase("losses");
        let slots: Vec<f64> = device.read(&self.loss).await?;
        let mut losses = self.losses.clone();
        losses.extend((losses.len()..self.done).map(|k| slots[k % LOSS_READS]));
        check_finite("the losses of training", &losses, self.rate)?;
        Ok(losses)
    }

    /// What is trained and thrown away afterwards.
    fn heads(&self) -> Vec<(&'static str, &Tensor)> {
        let Training { aux, aux_bias, turned, .. } = &self.training;
        let mut heads = vec![("aux", aux)];
        heads.extend(aux_bias.as_ref().map(|bias| ("aux.bias", bias)));
        heads.extend(turned.as_ref().map(|turned| ("turned", &turned.head)));
        heads
    }

    /// How far it is: `losses` of the steps done, the heads, `optimizer`. What it trains in the network is there.
    ///
    /// # Errors
    /// Device errors.
    pub async fn state(&self, core: &Core) -> Result<Tree> {
        let (device, mut tree) = (core.device(), Tree::new());
        tree.put("losses", &[self.done], &self.losses(device).await?);
        for (name, tensor) in self.heads() {
            put(&mut tree, name, device, tensor).await?;
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
        let Some(done) = task.schedule[self.lesson.clone()].get(..self.done) else {
            return Err(tree.error("its training has more steps than the settings ask for"));
        };
        let n = task.samples.len();
        for (i, batch) in done.iter().enumerate() {
            self.seen += batch.len();
            if self.seen.is_multiple_of(n) {
                self.epoch_start = i + 1;
            }
        }
        for (name, tensor) in self.heads() {
            overwrite(&mut tree, name, device, tensor)?;
        }
        self.optimizer.restore(tree.prune("optimizer"))?;
        tree.finish()
    }
}

/// The batches of a schedule for `n` images, each in the epoch that it belongs to.
fn batches(schedule: &[Vec<usize>], n: usize) -> Vec<Batch> {
    let mut done = 0;
    let batch = |idx: &Vec<usize>| {
        let epoch = (done / n) as u32;
        done += idx.len();
        Batch { images: idx.clone(), epoch: Some(epoch) }
    };
    schedule.iter().map(batch).collect()
}
