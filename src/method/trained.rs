//! Methods that learn by gradient steps, task by task. What is trained, by which loss, and what is learned from the images
//! afterwards is a method's own; batches, optimizer, passes and states are common.

mod plan;
mod pupil;
mod run;
mod state;

use serde::{Deserialize, Serialize};

use crate::device::Tensor;
use crate::method::features::{FeaturePass, Features, Whose};
use crate::method::footprint::{first_that_fits, sizes};
use crate::method::frozen::{Seen, features};
use crate::method::{Extent, Footprint, Learner, Moved, Observer, Over, Parts, Phase, Point, Solved, Step, Task, Work};
use crate::model::fingerprint::{Fingerprint, Hasher};
use crate::model::vit::Vit;
use crate::store::Tree;
use crate::{Error, Result};

pub(crate) use pupil::{Descent, Given, Graded, Pupil};
use run::Run;

/// Features that training steps ask for.
const QUERIES: Whose = Whose::Backbone { turns: 1 };

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
    /// How far it has learned from features.
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
                // Where features are looked at, these tell.
                if !P::LOOKS {
                    run.check(&device).await?;
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
                let total = self.pupil.total(&seen);
                if !active.told {
                    observer.begin(Phase::Analytic, P::WHAT, total);
                    observer.advance(active.learned);
                    active.told = true;
                }
                let done = self.pupil.learn(&device, &seen, active.learned, observer).await?;
                observer.advance(done - active.learned);
                active.learned = done;
                if done < total {
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
