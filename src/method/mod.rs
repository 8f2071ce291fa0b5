//! Class-incremental methods behind one trait: MiN in its two profiles.

mod core;
mod official;
mod paper;
mod training;

use std::future::Future;

pub use crate::autograd::Gradients;
use crate::device::Tensor;
use crate::{Error, Result};

pub use self::core::{Core, Init, Scores};
pub use official::Official;
pub use paper::{Paper, Settings};

/// The training images of one task, or test images: pixels [n, C, H, W] normalised with 0.5 and 0.5 and labels in order of appearance.
#[derive(Clone, Debug)]
pub struct Samples {
    /// C, H, W.
    pub shape: [usize; 3],
    pub pixels: Vec<f32>,
    pub labels: Vec<u32>,
}

impl Samples {
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels and labels of the images `idx`.
    pub fn gather(&self, idx: &[usize]) -> (Vec<f32>, Vec<u32>) {
        let size: usize = self.shape.iter().product();
        let pixels = idx.iter().flat_map(|&i| &self.pixels[i * size..(i + 1) * size]).copied().collect();
        (pixels, idx.iter().map(|&i| self.labels[i]).collect())
    }
}

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
    /// [`Error::Shape`] where there is no image, pixels and labels do not fit together, a label is not below the number of
    /// classes, or a batch is empty or names an image that is not there.
    fn check(&self) -> Result<()> {
        let refuse = |arg, expected: String, got: String| Err(Error::Shape { op: "task", arg, expected, got });
        let (n, shape) = (self.samples.len(), self.samples.shape);
        let pixels = shape.iter().try_fold(n, |size, &x| size.checked_mul(x));
        if pixels != Some(self.samples.pixels.len()) || self.samples.pixels.is_empty() {
            let got = format!("{} numbers", self.samples.pixels.len());
            return refuse("pixels", format!("[{n}, {}, {}, {}], not empty", shape[0], shape[1], shape[2]), got);
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
