//! Methods that learn by gradient steps, task by task. What is trained, by which loss, and what is learned from the images
//! afterwards is a method's own; batches, optimizer, passes and states are common.

mod plan;
mod run;
mod state;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::autograd::{Loss, Tape, Var};
use crate::device::{Device, Tensor};
use crate::method::features::{FeaturePass, Features, Whose};
use crate::method::footprint::{first_that_fits, sizes};
use crate::method::frozen::{Seen, features};
use crate::method::{Extent, Footprint, Learner, Moved, Observer, Over, Parts, Phase, Point, Solved, Step, Task, Work};
use crate::model::fingerprint::{Fingerprint, Hasher};
use crate::model::optimizer::{Parameter, Rule, Schedule};
use crate::model::vit::Vit;
use crate::store::Tree;
use crate::{Error, Result};

use run::Run;

/// Features that training steps ask for.
const QUERIES: Whose = Whose::Backbone { turns: 1 };

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
    /// [`Error::Config`] for a task that it cannot learn; device errors.
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

    /// In how many steps it learns from the features of a task, at least one.
    fn steps(&self, _seen: &Seen<'_>) -> usize {
        1
    }

    /// Step `at` of them.
    ///
    /// # Errors
    /// Device errors, matrices that are not positive definite.
    async fn learn(
        &mut self,
        _device: &Device,
        _seen: &Seen<'_>,
        _at: usize,
        _observer: &mut dyn Observer,
    ) -> Result<()> {
        Ok(())
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
    /// [`Error::Store`] where it does not fit; device errors.
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

/// A learner that trains beside a frozen backbone, or the backbone itself.
pub(crate) struct Trained<P> {
    vit: Vit,
    pupil: P,
    fit_batch: usize,
    /// Whether training images are changed at random, so that features cannot be kept for them.
    augmented: bool,
    /// How a training batch is taken.
    parts: Parts,
    /// Training steps so far.
    step: u32,
    active: Option<Active>,
}

/// One operation of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    Begin,
    /// A pass that keeps the features of the untouched backbone.
    Queries,
    Train,
    /// A pass that keeps the features to learn from.
    Look,
    Learn,
}

/// The task that is being learned.
struct Active {
    /// With the batches that are none of its training.
    task: Task,
    /// Batches of the training.
    lesson: Vec<Vec<usize>>,
    ops: Vec<Op>,
    /// The operation that is next, or under way.
    at: usize,
    under_way: UnderWay,
    queries: Option<Features>,
    features: Option<Features>,
    /// Steps that learned from features.
    learned: usize,
    /// Whether it was told that they began.
    told: bool,
}

enum UnderWay {
    Nothing,
    Pass(FeaturePass),
    Training(Box<Run>),
}

impl<P: Pupil> std::fmt::Debug for Trained<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trained").field("pupil", &self.pupil).finish_non_exhaustive()
    }
}

impl<P: Pupil> Trained<P> {
    /// With `augmented`, training images are changed at random; with `halves`, what training keeps of them is rounded to halves.
    ///
    /// # Errors
    /// [`Error::Config`] for a `fit_batch` of 0.
    pub fn new(vit: Vit, pupil: P, fit_batch: usize, augmented: bool, halves: bool) -> Result<Self> {
        if fit_batch == 0 {
            return Err(Error::Config("`fit_batch` must be at least 1, got 0".into()));
        }
        let parts = Parts { halves, ..Parts::default() };
        Ok(Self { vit, pupil, fit_batch, augmented, parts, step: 0, active: None })
    }

    /// What it learned.
    pub fn pupil(&self) -> &P {
        &self.pupil
    }

    fn ops(&self, task: usize) -> Vec<Op> {
        let mut ops = vec![Op::Begin];
        if self.pupil.epochs(task) > 0 {
            ops.extend((P::QUERIES && !self.augmented).then_some(Op::Queries));
            ops.push(Op::Train);
        }
        if P::LOOKS {
            ops.extend([Op::Look, Op::Learn]);
        }
        ops
    }

    fn activate(&self, mut task: Task) -> Result<Active> {
        task.check()?;
        let (ops, epochs) = (self.ops(task.index), self.pupil.epochs(task.index));
        let batches = task.schedule.len() * epochs / (epochs + P::EPOCHS).max(1);
        let rest = task.schedule.split_off(batches);
        let lesson = std::mem::replace(&mut task.schedule, rest);
        let (queries, features) = (None, None);
        let under_way = UnderWay::Nothing;
        Ok(Active { task, lesson, ops, at: 0, under_way, queries, features, learned: 0, told: false })
    }

    async fn take_step(&mut self, observer: &mut dyn Observer) -> Result<Step> {
        let mut active = self.active.take().ok_or_else(|| Error::Unsupported("there is no task to learn".into()))?;
        let op = active.ops[active.at];
        let phase = if op == Op::Train { Phase::Noise } else { Phase::Analytic };
        let mut over = Over::Nothing;
        if self.advance(&mut active, op, observer).await? {
            active.at += 1;
            over = if active.at == active.ops.len() { Over::Task } else { Over::Stage };
        }
        if over != Over::Task {
            self.active = Some(active);
        }
        Ok(Step { phase, over })
    }

    /// Carries on with an operation; true where it is over.
    async fn advance(&mut self, active: &mut Active, op: Op, observer: &mut dyn Observer) -> Result<bool> {
        let device = self.vit.device().clone();
        match op {
            Op::Begin => {
                self.pupil.begin(&self.vit, &active.task).await?;
                if active.ops.contains(&Op::Train) {
                    observer.inspect(Point::Begun(&self.pupil.descent(&active.task).parameters))?;
                }
                Ok(true)
            }
            Op::Queries | Op::Look => {
                let whose = if op == Op::Queries { QUERIES } else { Whose::Network };
                let mut pass = match std::mem::replace(&mut active.under_way, UnderWay::Nothing) {
                    UnderWay::Pass(pass) => pass,
                    _ => FeaturePass::new(whose),
                };
                let make = |images: &Tensor, _: usize, _: usize| match op {
                    Op::Queries => features(&self.vit, images),
                    _ => self.pupil.features(&self.vit, images),
                };
                let Some(found) = pass.step_by(&device, self.fit_batch, &active.task.samples, make, observer).await?
                else {
                    active.under_way = UnderWay::Pass(pass);
                    return Ok(false);
                };
                if op == Op::Queries {
                    active.queries = Some(found);
                } else {
                    active.features = Some(found);
                }
                Ok(true)
            }
            Op::Train => {
                let mut run = match std::mem::replace(&mut active.under_way, UnderWay::Nothing) {
                    UnderWay::Training(run) => run,
                    _ => Box::new(self.run(&active.task)?),
                };
                if !self.train(active, &mut run, observer).await? {
                    active.under_way = UnderWay::Training(run);
                    return Ok(false);
                }
                observer.inspect(Point::Losses(&run.losses))?;
                observer.inspect(Point::GradientNorms(&run.norms))?;
                observer.inspect(Point::Learned(&run.parameters))?;
                active.queries = None;
                self.pupil.conclude(&active.task);
                Ok(true)
            }
            Op::Learn => {
                let missing = || Error::Unsupported("no features were kept".into());
                let features = active.features.as_ref().ok_or_else(missing)?;
                let seen = Seen { task: &active.task, features, fit_batch: self.fit_batch };
                let steps = self.pupil.steps(&seen);
                if !active.told {
                    observer.begin(Phase::Analytic, P::WHAT, steps);
                    observer.advance(active.learned);
                    active.told = true;
                }
                self.pupil.learn(&device, &seen, active.learned, observer).await?;
                observer.advance(1);
                active.learned += 1;
                if active.learned < steps {
                    return Ok(false);
                }
                observer.end(Phase::Analytic, None);
                Ok(true)
            }
        }
    }
}

impl<P: Pupil> Learner for Trained<P> {
    fn backbone(&self) -> &Vit {
        &self.vit
    }

    fn fit_batch(&self) -> usize {
        self.fit_batch
    }

    fn fit_memory(&mut self, extent: &Extent, limit: u64) -> Result<Footprint> {
        let resident = self.vit.bytes() + self.pupil.random().map_or(0, Tensor::bytes);
        let mut bytes = resident;
        let trains = [0, extent.tasks - 1].iter().any(|&task| self.pupil.epochs(task) > 0);
        if extent.batch > 0 && trains {
            let (images, training) = first_that_fits(sizes(extent.batch), limit, "a training step", |images| {
                Ok(resident + self.training_bytes(extent, images)?)
            })?;
            (self.parts.images, bytes) = (images, training);
        }
        let whole = self.fit_batch.min(extent.images).max(1);
        let (fit_batch, pass) = first_that_fits(sizes(whole), limit, "a pass over images", |images| {
            Ok(resident + self.pass_bytes(extent, images)?)
        })?;
        if fit_batch < whole {
            self.fit_batch = fit_batch;
        }
        Ok(Footprint { bytes: bytes.max(pass), parts: self.parts, fit_batch: self.fit_batch })
    }

    fn epochs(&self, task: usize) -> usize {
        self.pupil.epochs(task) + P::EPOCHS
    }

    fn drops_last(&self) -> bool {
        P::DROP_LAST
    }

    fn begin(&mut self, task: Task) -> Result<()> {
        self.active = Some(self.activate(task)?);
        Ok(())
    }

    fn step<'a>(&'a mut self, observer: &'a mut dyn Observer) -> Work<'a, Step> {
        Box::pin(self.take_step(observer))
    }

    fn logits(&self, images: &Tensor, _: usize) -> Result<Tensor> {
        self.pupil.scores(&self.vit, images)
    }

    fn solved(&self) -> Option<Solved> {
        self.pupil.solved()
    }

    fn moved(&self) -> Option<Moved> {
        None
    }

    fn trained(&self) -> u64 {
        self.pupil.learned().iter().map(|p| p.len as u64).sum()
    }

    fn fingerprint(&self, images: String) -> Work<'_, Fingerprint> {
        Box::pin(async move {
            let (device, [mut learned, mut random]) = (self.vit.device(), [(); 2].map(|()| Hasher::default()));
            for p in self.pupil.learned() {
                let numbers = device.read::<f64>(&p.tensor).await?;
                learned.add(&p.path, &[p.len], &numbers[p.offset..p.offset + p.len]);
            }
            if let Some(matrix) = self.pupil.random() {
                random.add("R", matrix.shape(), &device.read::<f64>(matrix).await?);
            }
            let backbone = self.vit.fingerprint.clone();
            Ok(Fingerprint { images, backbone, noise: learned.finish(), random: random.finish() })
        })
    }

    fn state(&self) -> Work<'_, Tree> {
        Box::pin(self.saved())
    }

    fn restore(&mut self, state: Tree, task: Option<Task>) -> Work<'_, ()> {
        Box::pin(self.restored(state, task))
    }

    fn prewarm(&self, task: &Task) -> Result<()> {
        let device = self.vit.device();
        // Twins need no compiler.
        if device.is_cpu() { Ok(()) } else { device.compile(&self.rehearsed(task)?) }
    }
}
