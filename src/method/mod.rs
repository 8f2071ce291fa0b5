//! Class-incremental methods behind one trait: MiN in its three profiles, and the rivals, one file each.

mod acil;
mod aper;
mod calibrate;
mod coda;
mod core;
mod dsal;
mod dualprompt;
mod ease;
mod explain;
mod features;
mod fecam;
mod footprint;
mod frozen;
mod l2p;
mod min;
mod ncm;
mod official;
mod paper;
mod pass;
mod predict;
mod prompts;
pub mod random;
mod ranpac;
mod ridge;
mod robust;
mod samples;
mod simplecil;
mod slca;
mod trained;
mod training;
mod tuning;

use std::pin::Pin;

pub use crate::autograd::Gradients;
use crate::device::Tensor;
use crate::model::fingerprint::Fingerprint;
use crate::model::optimizer::Parameter;
use crate::model::vit::Vit;
use crate::store::Tree;
use crate::{Error, Result};

pub use self::core::{CLASSIFIER, Core, Init, Parts, STATISTICS, Scores, classifier_state};
pub(crate) use acil::Acil;
pub(crate) use aper::Aper;
pub(crate) use coda::Coda;
pub(crate) use dsal::DsAl;
pub(crate) use dualprompt::DualPrompt;
pub(crate) use ease::Ease;
pub use explain::Dissected;
pub(crate) use fecam::FeCam;
pub use footprint::{Extent, Footprint};
pub(crate) use frozen::{Frozen, HEAD, HEAD_STATISTICS, Head};
pub(crate) use l2p::L2p;
pub use min::{Keep, Lesson, Min, Op, Procedure, Prototype, Share};
pub(crate) use ncm::Ncm;
pub use official::Official;
pub use paper::{Paper, Settings};
pub use pass::Fit;
pub use predict::{logits, predict};
pub(crate) use prompts::{Course, Draw, Part};
pub(crate) use ranpac::RanPac;
pub use robust::Robust;
pub use samples::{Batch, Pixels, Raw, Samples, Stream};
pub(crate) use simplecil::SimpleCil;
pub(crate) use slca::{Slca, SlcaCourse, SlcaDraws};
pub(crate) use trained::{Pupil, Trained};
pub use training::{Main, Training};
pub(crate) use tuning::{First, Tuning};

/// What an object-safe trait gives in place of an `async fn`.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

/// One task as a method sees it.
#[derive(Clone, Debug)]
pub struct Task {
    /// How many tasks came before.
    pub index: usize,
    pub samples: Samples,
    /// Classes known before.
    pub first_class: usize,
    /// Classes known once this task is learned.
    pub classes: usize,
    /// Batches of all training steps, as indices into `samples`.
    pub schedule: Vec<Vec<usize>>,
}

impl Task {
    /// # Errors
    /// [`Error::Shape`] where there is no image, a label is not one of the task's classes, or a batch is empty or names an
    /// image that is not there.
    fn check(&self) -> Result<()> {
        let refuse = |arg, expected: String, got: String| Err(Error::Shape { op: "task", arg, expected, got });
        let n = self.samples.len();
        if n == 0 || self.samples.shape().contains(&0) {
            return refuse("samples", "not empty".into(), format!("{n} images of {:?}", self.samples.shape()));
        }
        let classes = self.first_class..self.classes;
        if let Some(y) = self.samples.labels.iter().find(|&&y| !classes.contains(&(y as usize))) {
            return refuse("labels", format!("in {classes:?}"), y.to_string());
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
    /// Training by gradient steps, in MiN of its noise.
    Noise,
}

/// What a method shows of its work while it runs.
#[derive(Debug)]
pub enum Point<'a> {
    /// The classifier of step 1, [C, m].
    StepOne(&'a Tensor),
    /// Cosine similarities of the prototypes of all tasks to the newest.
    Similarity(&'a [f64]),
    /// Prototype before training.
    PrototypeBefore(&'a [f64]),
    /// Gradients of the first training step.
    FirstGradients { core: &'a Core, gradients: &'a Gradients, aux: &'a Tensor },
    /// Losses of all training steps.
    Losses(&'a [f64]),
    /// Of a class in float64, [d, d] each: its covariance, and its correlations after shrinkage.
    Spread { covariance: &'a [f64], correlation: &'a [f64] },
    /// Loss of every ridge that is tried, the smallest ridge first.
    RidgeLosses(&'a [f64]),
    /// What a task trains, before the first step.
    Begun(&'a [Parameter]),
    /// Gradients of the first step of a training, before clipping and weight decay.
    FirstDescent { parameters: &'a [Parameter], gradients: &'a Gradients },
    /// What a step chose for its images, [B, ..].
    Chosen(&'a Tensor),
    /// Features [n, d] that a step draws to learn from, of the first such step.
    Drawn(&'a Tensor),
    /// Norms of all gradients together before clipping, of all training steps; none where they are not clipped.
    GradientNorms(&'a [f64]),
    /// What a task trained, after the last step.
    Learned(&'a [Parameter]),
}

/// Receives progress and intermediate results.
pub trait Observer {
    /// A pass or epoch over `total` images begins, or goes on after an interruption.
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

/// Refuses numbers that are NaN or infinite, of what was learned at this rate.
///
/// # Errors
/// [`Error::Diverged`].
fn check_finite(what: &str, numbers: &[f64], rate: &'static str) -> Result<()> {
    if numbers.iter().all(|x| x.is_finite()) { Ok(()) } else { Err(Error::Diverged { what: what.into(), rate }) }
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub phase: Phase,
    pub over: Over,
}

/// What was over with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Nothing,
    /// One of the steps that a task has: a good moment to save.
    Stage,
    /// The task is learned.
    Task,
}

/// The last solve for the classifier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Solved {
    /// Ridge that was added to the Gram matrix.
    pub gamma: f64,
    /// The largest entry of `Q - (G + gamma I) W` relative to that of Q.
    pub residual: f64,
}

/// How far the training of a task moved the features of its images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moved {
    /// `|f_after - f_before|_F / |f_before|_F`.
    pub drift: f64,
    /// Share of the squared change of random features that the map which compensates old statistics foretells of images that
    /// it was not fitted to; nothing where it is not asked for.
    pub explained: Option<f64>,
}

/// What the noise layers are after a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    /// Mixture weights of every layer that takes part, by module.
    pub mixture: Vec<Vec<f64>>,
    /// By how much every layer changes the tokens behind its block: `|y - x|_F / |x|_F`, x before and y behind the layer.
    pub changes: Vec<f64>,
}

/// A class-incremental learner. It learns a task in small steps, so that between any two of them its state can be saved, to
/// go on from there in another process with the same bits on the same device.
pub trait Learner: std::fmt::Debug {
    /// The backbone that it stands on.
    fn backbone(&self) -> &Vit;

    /// Images in a batch of a pass that trains nothing.
    fn fit_batch(&self) -> usize;

    /// Takes images in such parts that all its tensors stay within `limit` bytes of the device in a run of this extent.
    ///
    /// # Errors
    /// [`Error::Limit`] where not even the smallest parts do.
    fn fit_memory(&mut self, extent: &Extent, limit: u64) -> Result<Footprint>;

    /// Epochs of training of a task, for which its schedule has batches.
    fn epochs(&self, task: usize) -> usize;

    /// Whether the schedule of a task has whole batches alone: what is left of the images of an epoch is left out.
    fn drops_last(&self) -> bool {
        false
    }

    /// Begins the next task.
    ///
    /// # Errors
    /// [`Error::Shape`] for a task that makes no sense; allocation failures.
    fn begin(&mut self, task: Task) -> Result<()>;

    /// Goes on with the task: one batch, or one computation between batches.
    ///
    /// # Errors
    /// Device errors, a Gram matrix that is not positive definite, those of whoever brings the images;
    /// [`Error::Unsupported`] where there is no task.
    fn step<'a>(&'a mut self, observer: &'a mut dyn Observer) -> Work<'a, Step>;

    /// Learns a task in one go.
    ///
    /// # Errors
    /// Those of [`Learner::begin`] and [`Learner::step`].
    fn learn<'a>(&'a mut self, task: Task, observer: &'a mut dyn Observer) -> Work<'a, ()> {
        Box::pin(async move {
            self.begin(task)?;
            while self.step(&mut *observer).await?.over != Over::Task {}
            Ok(())
        })
    }

    /// Logits [B, classes] of images [B, C, H, W], which are those of a pass from image `first` on.
    ///
    /// # Errors
    /// Device errors.
    fn logits(&self, images: &Tensor, first: usize) -> Result<Tensor>;

    /// The last solve, if there was one.
    fn solved(&self) -> Option<Solved>;

    /// How far the last task moved features, where that is known.
    fn moved(&self) -> Option<Moved>;

    /// What the noise layers weigh, and how they change the tokens of a few of these images; nothing where there are none.
    fn mixed<'a>(&'a self, _images: &'a Samples) -> Work<'a, Option<Mixed>> {
        Box::pin(async { Ok(None) })
    }

    /// Numbers that gradients changed so far and that are kept; none where nothing is trained.
    fn trained(&self) -> u64 {
        0
    }

    /// Itself taken apart, for a method whose noise, features and scores can be explained.
    fn dissected(&self) -> Option<Dissected<'_>> {
        None
    }

    /// What makes the features that its classifier stands on; `images` says how images are seen.
    fn fingerprint(&self, images: String) -> Work<'_, Fingerprint>;

    /// All that was learned, and where in its task the learner is.
    fn state(&self) -> Work<'_, Tree>;

    /// What [`Learner::state`] gave, into a learner of the same settings; `task` is the one that it was in. Without
    /// `statistics` the classifier is there, but no further task can be learned.
    fn restore(&mut self, state: Tree, task: Option<Task>) -> Work<'_, ()>;

    /// Compiles the pipelines of a training step and an analytic pass on batches of the task's sizes.
    ///
    /// # Errors
    /// Shader compilation.
    fn prewarm(&self, task: &Task) -> Result<()>;
}
