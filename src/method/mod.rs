//! Class-incremental methods behind one trait: MiN in its two profiles.

mod core;
mod official;
mod paper;
mod samples;
mod training;

use std::future::Future;

pub use crate::autograd::Gradients;
use crate::device::Tensor;
use crate::{Error, Result};

pub use self::core::{Core, Init, Scores};
pub use official::Official;
pub use paper::{Paper, Settings};
pub use samples::{Batch, Pixels, Samples};

/// One task as a method sees it.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    pub samples: &'a Samples,
    /// Classes known once this task is learned.
    pub classes: usize,
    /// Batches of all training steps, as indices into `samples`.
    pub schedule: &'a [Vec<usize>],
}

impl Task<'_> {
    /// # Errors
    /// [`Error::Shape`] where there is no image, a label is not below the number of classes, or a batch is empty or names an
    /// image that is not there.
    fn check(&self) -> Result<()> {
        let refuse = |arg, expected: String, got: String| Err(Error::Shape { op: "task", arg, expected, got });
        let n = self.samples.len();
        if n == 0 || self.samples.shape().contains(&0) {
            return refuse("samples", "not empty".into(), format!("{n} images of {:?}", self.samples.shape()));
        }
        if let Some(y) = self.samples.labels.iter().find(|&&y| y as usize >= self.classes) {
            return refuse("labels", format!("below {}", self.classes), y.to_string());
        }
        let whole = |batch: &&Vec<usize>| !batch.is_empty() && batch.iter().all(|&i| i < n);
        match self.schedule.iter().find(|batch| !whole(batch)) {
            None => Ok(()),
            Some(batch) => refuse("schedule", format!("batches of images below {n}"), format!("{batch:?}")),
        }
    }
}

/// Which part of a task is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Analytic,
    Noise,
}

/// What a method shows of its work while it runs.
#[derive(Debug)]
pub enum Point<'a> {
    /// The classifier of step 1, [C, m].
    StepOne(&'a Tensor),
    /// Cosine similarities of the prototypes of all tasks to the newest.
    Similarity(&'a [f64]),
    /// Prototype before training (`official`).
    PrototypeBefore(&'a [f64]),
    /// Gradients of the first training step.
    FirstGradients { core: &'a Core, gradients: &'a Gradients, aux: &'a Tensor },
    /// Losses of all training steps so far.
    Losses(&'a [f64]),
}

/// Receives progress and intermediate results.
pub trait Observer {
    /// A pass or epoch over `total` images begins.
    fn begin(&mut self, phase: Phase, what: &str, total: usize);
    /// `n` more images are done.
    fn advance(&mut self, n: usize);
    /// The pass or epoch is over; `loss` is its mean where there is one.
    fn end(&mut self, phase: Phase, loss: Option<f64>);
    /// An intermediate result.
    fn inspect(&mut self, _: Point<'_>) -> Result<()> {
        Ok(())
    }
}

/// A class-incremental learner.
pub trait Method {
    /// Learns the next task.
    ///
    /// # Errors
    /// Device errors and a Gram matrix that is not positive definite.
    fn learn(&mut self, task: &Task<'_>, observer: &mut dyn Observer) -> impl Future<Output = Result<()>>;

    /// State shared by all methods: the network, the statistics, the classifier.
    fn core(&self) -> &Core;

    /// Compiles the pipelines of a training step and an analytic pass on batches of the task's sizes.
    ///
    /// # Errors
    /// Shader compilation.
    fn prewarm(&self, task: &Task<'_>) -> Result<()>;
}
