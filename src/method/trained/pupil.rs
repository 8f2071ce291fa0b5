//! What a method has of its own: what it trains, by which loss, and what it learns from images afterwards.

use std::ops::Range;

use crate::Result;
use crate::autograd::{Loss, Tape, Var};
use crate::device::{Device, Tensor};
use crate::method::frozen::{Seen, features};
use crate::method::{Observer, Solved, Task};
use crate::model::optimizer::{Parameter, Rule, Schedule};
use crate::model::vit::Vit;
use crate::store::Tree;

/// What a task trains, and how.
#[derive(Debug)]
pub(crate) struct Descent {
    /// All that the optimizer moves, by the names that they have in a state; their values now are the first ones.
    pub parameters: Vec<Parameter>,
    pub rule: Rule,
    pub schedule: Schedule,
    /// The largest norm of all gradients together that is left as it is.
    pub clip: Option<f64>,
}

/// Some images of a training batch.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    /// [B, C, H, W].
    pub images: Tensor,
    /// Their labels `[B]`, counted from the first class of the task: the loss sees no other classes.
    pub labels: Tensor,
    /// Their features [B, d] by the untouched backbone, where the method asks for them.
    pub queries: Option<Tensor>,
    pub task: usize,
    /// The classes of the task.
    pub classes: Range<usize>,
    /// Images of the batch that come before these, where it is taken in parts. Terms of a loss that are none of the images
    /// belong to the first part.
    pub first: usize,
    /// Training steps of the run before this one, for random numbers.
    pub step: u32,
    /// Where the loss goes; means over images are those over all of `loss.batch`.
    pub loss: Loss<'a>,
}

/// What a method makes of some images.
#[derive(Debug)]
pub(crate) struct Graded {
    /// The root of the loss.
    pub root: Var,
    /// What was chosen for each image, to be shown.
    pub chosen: Option<Tensor>,
}

impl From<Var> for Graded {
    fn from(root: Var) -> Self {
        Self { root, chosen: None }
    }
}

/// What a method has of its own. Larger scores are better.
///
/// A task goes like this: `begin`; where it has epochs, training by `descent` and `loss`, then `conclude`; where `LOOKS`, a
/// pass over clean images for their `features`, from which it `learn`s.
pub(crate) trait Pupil: std::fmt::Debug + Sized {
    /// Whether a training step wants the features of its images by the untouched backbone.
    const QUERIES: bool = false;
    /// Whether the last batch of an epoch is left out where it is only a part of one.
    const DROP_LAST: bool = false;
    /// Whether it learns from features of clean images after training.
    const LOOKS: bool = false;
    /// What it does with them.
    const WHAT: &'static str = "";
    /// Further epochs of shuffled images that `learn` wants to be in the schedule of its task.
    const EPOCHS: usize = 0;

    /// Epochs of training of a task; 0 where nothing is trained.
    fn epochs(&self, task: usize) -> usize;

    /// Makes room for a task, with the first values of what it trains. What the state holds from now on is all that training
    /// needs.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a task that it cannot learn; device errors.
    async fn begin(&mut self, vit: &Vit, task: &Task) -> Result<()>;

    /// What the task that has begun trains.
    fn descent(&self, task: &Task) -> Descent;

    /// The loss of some images, by the current values of the parameters.
    ///
    /// # Errors
    /// Device errors.
    fn loss(&self, vit: &Vit, tape: &mut Tape, given: &Given<'_>) -> Result<Graded>;

    /// Training is over: drops what nothing needs any more.
    fn conclude(&mut self, _task: &Task) {}

    /// Features [B, ..] of images [B, C, H, W], to learn from.
    ///
    /// # Errors
    /// Device errors.
    fn features(&self, vit: &Vit, images: &Tensor) -> Result<Tensor> {
        features(vit, images)
    }

    /// Numbers in such a feature, where the backbone's have d.
    fn width(&self, d: usize) -> usize {
        d
    }

    /// See [`Head::total`](crate::method::Head::total).
    fn total(&self, _seen: &Seen<'_>) -> usize {
        1
    }

    /// See [`Head::learn`](crate::method::Head::learn).
    ///
    /// # Errors
    /// Device errors, matrices that are not positive definite.
    async fn learn(
        &mut self,
        _device: &Device,
        _seen: &Seen<'_>,
        done: usize,
        _observer: &mut dyn Observer,
    ) -> Result<usize> {
        Ok(done + 1)
    }

    /// Scores [B, classes] of images [B, C, H, W].
    ///
    /// # Errors
    /// Device errors.
    fn scores(&self, vit: &Vit, images: &Tensor) -> Result<Tensor>;

    /// The last solve for a ridge classifier, if there was one.
    fn solved(&self) -> Option<Solved> {
        None
    }

    /// What gradients changed so far and is kept.
    fn learned(&self) -> Vec<Parameter>;

    /// Its frozen random matrix, if it has one.
    fn random(&self) -> Option<&Tensor> {
        None
    }

    /// All that was learned, and what the task under way trains: `classifier` [classes, ..], and below `statistics` what scores
    /// do not need.
    ///
    /// # Errors
    /// Device errors.
    async fn state(&self, device: &Device) -> Result<Tree>;

    /// What [`Pupil::state`] gave; there may be no `statistics`.
    ///
    /// # Errors
    /// [`Error::Store`](crate::Error::Store) where it does not fit; device errors.
    async fn restore(&mut self, vit: &Vit, tree: Tree) -> Result<()>;

    /// As it is when it has begun this task, after as many others as its number says, with nothing in particular in its
    /// tensors. They belong to the device of `vit`, which only plans, but for its random matrix.
    ///
    /// # Errors
    /// Those of plans.
    fn rehearsal(&self, vit: &Vit, task: &Task) -> Result<Self>;

    /// Dispatches what a step that learns from features f [B, ..] needs, to compile it ahead.
    ///
    /// # Errors
    /// Those of plans.
    fn plan(&self, _device: &Device, _f: &Tensor, _classes: usize) -> Result<()> {
        Ok(())
    }

    /// Allocates on a device that only plans what learning from features f [B, ..], or from none, takes at most, and returns
    /// what stays.
    ///
    /// # Errors
    /// Those of plans.
    fn occupy(&self, _planner: &Device, _f: &Tensor, _classes: usize) -> Result<Vec<Tensor>> {
        Ok(Vec::new())
    }
}
