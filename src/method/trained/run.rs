//! The training of a task, step by step.

use std::ops::Range;

use super::{Active, Descent, Given, Pupil, Trained};
use crate::autograd::{Gradients, Loss, Tape};
use crate::device::{Device, Tensor};
use crate::method::frozen::features;
use crate::method::{Batch, Observer, Phase, Point, Stream, Task, check_finite};
use crate::model::optimizer::{Optimizer, Parameter, Schedule};
use crate::store::Tree;
use crate::{Error, Result};

/// Steps between two reads of the losses, which stay on the device meanwhile.
const LOSS_READS: usize = 64;

/// A training that steps batch by batch.
pub(super) struct Run {
    pub parameters: Vec<Parameter>,
    schedule: Schedule,
    epochs: usize,
    pub optimizer: Optimizer,
    /// Losses, and norms of gradients before clipping, that are not yet read.
    pub loss: Tensor,
    norm: Tensor,
    /// Those that are.
    pub losses: Vec<f64>,
    pub norms: Vec<f64>,
    clips: bool,
    /// Training steps done.
    done: usize,
    stream: Option<Stream>,
}

impl Run {
    pub fn new(device: &Device, descent: Descent, epochs: usize) -> Result<Self> {
        let Descent { parameters, rule, schedule, clip } = descent;
        let mut optimizer = Optimizer::new(device, rule, parameters.clone())?;
        if let Some(most) = clip {
            optimizer = optimizer.clipped(most)?;
        }
        let (loss, norm) = (device.zeros(&[LOSS_READS])?, device.zeros(&[LOSS_READS])?);
        let (losses, norms) = (Vec::new(), Vec::new());
        let clips = clip.is_some();
        Ok(Self { parameters, schedule, epochs, optimizer, loss, norm, losses, norms, clips, done: 0, stream: None })
    }

    /// Reads what is not yet read of the steps done.
    async fn read(&mut self, device: &Device) -> Result<()> {
        (self.losses, self.norms) = self.shown(device).await?;
        Ok(())
    }

    /// Losses of the steps done, and norms where gradients are clipped.
    ///
    /// # Errors
    /// [`Error::Diverged`], device errors.
    async fn shown(&self, device: &Device) -> Result<(Vec<f64>, Vec<f64>)> {
        let new = |known: &[f64], slots: Vec<f64>| {
            let mut all = known.to_vec();
            all.extend((known.len()..self.done).map(|k| slots[k % LOSS_READS]));
            all
        };
        let losses = new(&self.losses, device.read(&self.loss).await?);
        let norms = if self.clips { new(&self.norms, device.read(&self.norm).await?) } else { Vec::new() };
        check_finite("the losses of training", &losses, "lr")?;
        check_finite("the norms of gradients", &norms, "lr")?;
        Ok((losses, norms))
    }

    /// Refuses what the last step, behind the last loss, may have left.
    ///
    /// # Errors
    /// [`Error::Diverged`], device errors.
    pub async fn check(&self, device: &Device) -> Result<()> {
        for Parameter { path, tensor, .. } in &self.parameters {
            check_finite(&format!("numbers of `{path}`"), &device.read::<f64>(tensor).await?, "lr")?;
        }
        Ok(())
    }

    /// How far it is. What it trains stands in the state of the method.
    pub async fn state(&self, device: &Device) -> Result<Tree> {
        let mut tree = Tree::new();
        let (losses, norms) = self.shown(device).await?;
        tree.put("losses", &[losses.len()], &losses);
        tree.put("norms", &[norms.len()], &norms);
        tree.graft("optimizer", self.optimizer.state().await?);
        Ok(tree)
    }

    /// Goes on from what [`Run::state`] gave, in a lesson of so many batches.
    pub fn restore(&mut self, batches: usize, mut tree: Tree) -> Result<()> {
        (_, self.losses) = tree.take::<f64>("losses")?;
        self.done = self.losses.len();
        if self.done > batches {
            return Err(tree.error("its training has more steps than the settings ask for"));
        }
        self.norms = tree.take_shaped::<f64>("norms", &[if self.clips { self.done } else { 0 }])?;
        self.optimizer.restore(tree.prune("optimizer"))?;
        tree.finish()
    }
}

/// Images of a part of a batch, their labels, and their features by the untouched backbone.
type Sight = (Tensor, Tensor, Option<Tensor>);

impl<P: Pupil> Trained<P> {
    /// The training of a task that has begun, at its beginning.
    pub(super) fn run(&self, task: &Task) -> Result<Run> {
        Run::new(self.vit.device(), self.pupil.descent(task), self.pupil.epochs(task.index))
    }

    /// One training step; true after the last.
    pub(super) async fn train(&mut self, active: &Active, run: &mut Run, observer: &mut dyn Observer) -> Result<bool> {
        let (device, task, lesson) = (self.vit.device().clone(), &active.task, &active.lesson);
        let Some(idx) = lesson.get(run.done) else { return Ok(true) };
        // Every epoch has as many batches as any other.
        let length = (lesson.len() / run.epochs).max(1);
        let images = |batches: &[Vec<usize>]| batches.iter().map(Vec::len).sum::<usize>();
        let (epoch, start) = (run.done / length, run.done / length * length);
        let resumed = run.stream.is_none();
        if resumed || run.done == start {
            let all = &lesson[start..lesson.len().min(start + length)];
            observer.begin(Phase::Noise, &format!("training, epoch {}", epoch + 1), images(all));
            observer.advance(images(&lesson[start..run.done]));
        }
        if resumed {
            let epoch = |i: usize| Some((i / length) as u32);
            let batch = |(i, idx): (usize, &Vec<usize>)| Batch { images: idx.clone(), epoch: epoch(i) };
            run.stream = Some(task.samples.stream(lesson.iter().enumerate().skip(run.done).map(batch).collect())?);
        }
        let images = device.phase("images");
        let pixels = run.stream.as_mut().and_then(Iterator::next);
        let pixels = pixels.ok_or_else(|| Error::Unsupported("the samples end before the task".into()))??;
        drop(images);
        let give = |range: Range<usize>| {
            let _images = device.phase("images");
            let images = task.samples.upload(&device, &pixels, range.clone())?;
            let idx = &idx[range];
            let label = |&i: &usize| task.samples.labels[i] - task.first_class as u32;
            let labels = device.upload_u32(&idx.iter().map(label).collect::<Vec<_>>(), &[idx.len()])?;
            let queries = match (&active.queries, P::QUERIES) {
                (Some(kept), _) => Some(kept.plain(&device, idx)?),
                (None, true) => Some(features(&self.vit, &images)?),
                (None, false) => None,
            };
            Ok((images, labels, queries))
        };
        let slot = run.done % LOSS_READS;
        let (gradients, chosen) = self.gradients(task, &run.parameters, idx.len(), give, (&run.loss, slot))?;
        for chosen in &chosen {
            observer.inspect(Point::Chosen(chosen))?;
        }
        if run.done == 0 {
            observer.inspect(Point::FirstDescent { parameters: &run.parameters, gradients: &gradients })?;
        }
        let update = device.phase("update");
        run.optimizer.step(&gradients, run.schedule.factor(epoch.min(run.epochs - 1), run.epochs))?;
        run.optimizer.keep_norm(&run.norm, slot)?;
        drop(update);
        device.flush()?;
        self.step += 1;
        run.done += 1;
        observer.advance(idx.len());
        let over = run.done == lesson.len();
        let epoch_over = over || run.done.is_multiple_of(length);
        if epoch_over || run.done.is_multiple_of(LOSS_READS) {
            run.read(&device).await?;
        }
        if epoch_over {
            let epoch = &run.losses[start..];
            observer.end(Phase::Noise, Some(epoch.iter().sum::<f64>() / epoch.len() as f64));
        }
        Ok(over)
    }

    /// Loss of one batch into `loss[slot]`, the gradients, and what was chosen, part by part: `give` brings a range of it.
    pub(super) fn gradients(
        &self,
        task: &Task,
        parameters: &[Parameter],
        batch: usize,
        give: impl Fn(Range<usize>) -> Result<Sight>,
        (loss, slot): (&Tensor, usize),
    ) -> Result<(Gradients, Vec<Tensor>)> {
        let (device, mut gradients, mut chosen) = (self.vit.device(), Gradients::default(), Vec::new());
        let size = self.parts.images.min(batch).max(1);
        for first in (0..batch).step_by(size) {
            let (images, labels, queries) = give(first..batch.min(first + size))?;
            let loss = Loss { accumulate: first > 0, ..Loss::new(loss, slot, batch) };
            let (classes, step) = (task.first_class..task.classes, self.step);
            let given = Given { images, labels, queries, task: task.index, classes, first, step, loss };
            let forward = device.phase("forward");
            let mut tape = Tape::new(device, parameters.iter().map(|p| &p.tensor)).with_halves(self.parts.halves);
            let graded = self.pupil.loss(&self.vit, &mut tape, &given)?;
            drop(forward);
            let _backward = device.phase("backward");
            gradients = tape.backward_onto(&graded.root, gradients)?;
            chosen.extend(graded.chosen);
            device.flush()?;
        }
        Ok((gradients, chosen))
    }
}
