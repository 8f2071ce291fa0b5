//! MiN as a learner: a task is a list of operations, which a profile makes and one place carries out.

mod advance;
mod state;

use std::ops::Range;

use crate::device::Tensor;
use crate::method::features::{FeaturePass, Features, Whose};
use crate::method::pass::{Fit, Pass};
use crate::method::training::{Run, Training};
use crate::method::{
    Core, Dissected, Extent, Footprint, Init, Learner, Mixed, Moved, Observer, Over, Phase, Samples, Solved, Step,
    Task, Work,
};
use crate::model::fingerprint::Fingerprint;
use crate::model::head::Statistics;
use crate::model::noise::{Layer, MixtureSource, Noise};
use crate::model::vit::Vit;
use crate::store::Tree;
use crate::{Error, Result};

/// What a prototype is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prototype {
    Unused,
    /// That of a new task.
    New,
    /// That of the newest task, instead of the one it has.
    Newest,
}

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// The backbone's adaptation to the first task.
    Backbone,
    /// The newest module.
    Noise,
}

/// Which images of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    All,
    /// Those that are not held out to calibrate by, of the seed of a run.
    Rest {
        seed: u64,
    },
}

/// Features that are kept while a task is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Of the untouched backbone, of images in so many quarter turns.
    Floor { turns: usize },
    /// Of the network before the noise is trained.
    Before,
    /// And after.
    After,
}

impl Keep {
    fn whose(self) -> Whose {
        if let Self::Floor { turns } = self { Whose::Backbone { turns } } else { Whose::Network }
    }
}

/// One operation of a task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Keeps the statistics as they are.
    Keep,
    /// Goes back to the statistics that were kept.
    Return,
    Pass {
        what: &'static str,
        fit: Fit,
        epoch: Option<u32>,
        prototype: Prototype,
    },
    /// Solves for the classifier; that of the first of three steps is shown.
    Solve {
        first: bool,
    },
    /// Adds a module.
    Expand,
    Train(Lesson),
    /// Folds the noise layers for inference.
    Fold,
    /// Measures the scale of every block, by the first images of the task.
    Scale,
    /// A pass that keeps features.
    Features(Keep),
    /// Adds the random features of the newest features that are kept to the statistics.
    Fit(Share),
    /// Chooses the scale of the analytic logits by the images that are held out, with the statistics of the others and the
    /// gamma of the last solve.
    Calibrate {
        seed: u64,
    },
    /// Carries the statistics of earlier tasks over to the new features, with a ridge relative to their mean square.
    Compensate {
        ridge: f64,
    },
}

impl Op {
    /// Whether it brings the prototype of a new task.
    fn brings_prototype(self) -> bool {
        matches!(self, Self::Pass { prototype: Prototype::New, .. } | Self::Features(Keep::Before))
    }

    /// Whether it is a good moment to save after it.
    fn is_stage(self) -> bool {
        matches!(self, Self::Solve { .. } | Self::Train(_) | Self::Features(_))
    }
}

/// What makes a profile of MiN.
pub trait Procedure: std::fmt::Debug {
    /// How folded layers see the noise.
    const FOLDED: Noise;
    /// The operations of a task.
    fn ops(&self, task: usize) -> Vec<Op>;
    /// Adds a module to all noise layers, with its mixture.
    ///
    /// # Errors
    /// Allocation failures.
    fn expand(&self, core: &mut Core, init: &mut Init, observer: &mut dyn Observer) -> Result<()>;
    /// A training beside an auxiliary classifier `aux` [classes, m], of which those of the task are `classes`; `scale` is that
    /// of the analytic logits.
    ///
    /// # Errors
    /// Allocation failures.
    fn training(&self, core: &Core, lesson: Lesson, classes: Range<usize>, scale: f64, aux: Tensor)
    -> Result<Training>;
    /// Epochs of all training of a task.
    fn epochs(&self, task: usize, lesson: Lesson) -> usize;
    /// Plans the training steps of a task on a copy of the core, for their memory and their pipelines.
    ///
    /// # Errors
    /// Those of plans.
    fn plan(&self, core: &mut Core, task: &Task) -> Result<()>;
}

/// A learner by MiN.
pub struct Min<P> {
    core: Core,
    procedure: P,
    init: Init,
    active: Option<Active>,
}

/// The task that is being learned.
struct Active {
    task: Task,
    ops: Vec<Op>,
    /// The operation that is next, or under way.
    at: usize,
    under_way: UnderWay,
    kept: Option<Statistics>,
    floor: Option<Features>,
    before: Option<Features>,
    after: Option<Features>,
    /// Of the analytic logits.
    scale: f64,
}

enum UnderWay {
    Nothing,
    Pass(Pass),
    Features(FeaturePass),
    /// Images whose random features are in the statistics.
    Fit(usize),
    Training(Box<Run>),
}

impl<P: Procedure> std::fmt::Debug for Min<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Min").field("procedure", &self.procedure).finish_non_exhaustive()
    }
}

impl<P: Procedure> Min<P> {
    /// `init(task, layer)` gives the parameters of a new module.
    pub fn new(core: Core, procedure: P, init: Init) -> Self {
        Self { core, procedure, init, active: None }
    }

    /// The network, the statistics, the classifier.
    pub fn core(&self) -> &Core {
        &self.core
    }

    pub(super) fn procedure(&self) -> &P {
        &self.procedure
    }

    pub(super) fn core_mut(&mut self) -> &mut Core {
        &mut self.core
    }

    /// The training of operation [`Op::Train`], at its beginning, with the part of the schedule that is its.
    fn training(&self, active: &Active, lesson: Lesson) -> Result<Run> {
        let (core, task) = (&self.core, &active.task);
        let aux = core.device().zeros(&[task.classes, core.network.m()])?;
        let classes = task.first_class..task.classes;
        let training = self.procedure.training(core, lesson, classes, active.scale, aux)?;
        let rate = if lesson == Lesson::Backbone { "robust.adapt_lr" } else { "lr" };
        Run::new(core.device(), training, self.lesson(task, lesson), rate)
    }

    /// The batches of a training among those of the task.
    fn lesson(&self, task: &Task, lesson: Lesson) -> Range<usize> {
        let [first, second] = [Lesson::Backbone, Lesson::Noise].map(|lesson| self.procedure.epochs(task.index, lesson));
        let batches = task.schedule.len();
        let split = batches * first / (first + second).max(1);
        if lesson == Lesson::Backbone { 0..split } else { split..batches }
    }

    async fn take_step(&mut self, observer: &mut dyn Observer) -> Result<Step> {
        let mut active = self.active.take().ok_or_else(|| Error::Unsupported("there is no task to learn".into()))?;
        let op = active.ops[active.at];
        let phase = if matches!(op, Op::Train(_)) { Phase::Noise } else { Phase::Analytic };
        if self.advance(&mut active, observer).await? {
            active.at += 1;
            if active.at == active.ops.len() {
                return Ok(Step { phase, over: Over::Task });
            }
        }
        let stage = op.is_stage() && matches!(active.under_way, UnderWay::Nothing);
        self.active = Some(active);
        Ok(Step { phase, over: if stage { Over::Stage } else { Over::Nothing } })
    }

    fn activate(&mut self, task: Task) -> Result<Active> {
        task.check()?;
        self.core.statistics.widen(task.classes)?;
        let ops = self.procedure.ops(task.index);
        let (floor, before, after) = (None, None, None);
        Ok(Active { task, ops, at: 0, under_way: UnderWay::Nothing, kept: None, floor, before, after, scale: 1.0 })
    }
}

impl<P: Procedure + Clone> Learner for Min<P> {
    fn backbone(&self) -> &Vit {
        &self.core.network.vit
    }

    fn fit_batch(&self) -> usize {
        self.core.fit_batch
    }

    fn fit_memory(&mut self, extent: &Extent, limit: u64) -> Result<Footprint> {
        self.fit(extent, limit)
    }

    fn begin(&mut self, task: Task) -> Result<()> {
        self.active = Some(self.activate(task)?);
        Ok(())
    }

    fn step<'a>(&'a mut self, observer: &'a mut dyn Observer) -> Work<'a, Step> {
        Box::pin(self.take_step(observer))
    }

    fn logits(&self, images: &Tensor, first: usize) -> Result<Tensor> {
        Ok(self.core.scores(images, first)?.logits)
    }

    fn epochs(&self, task: usize) -> usize {
        [Lesson::Backbone, Lesson::Noise].map(|lesson| self.procedure.epochs(task, lesson)).iter().sum()
    }

    fn solved(&self) -> Option<Solved> {
        self.core.solved
    }

    fn moved(&self) -> Option<Moved> {
        self.core.moved
    }

    fn mixed<'a>(&'a self, images: &'a Samples) -> Work<'a, Option<Mixed>> {
        Box::pin(self.core.mixed(images))
    }

    fn trained(&self) -> u64 {
        let (network, noise) = (&self.core.network, &self.core.network.noise);
        let layout = &noise.layout;
        let module = 2 * layout.layers * layout.d2 * (layout.d2 + 1);
        let of_layer = |layer: &Layer| match &layer.mixture {
            Some(MixtureSource::Logits(a)) => noise.modules * module + a.len(),
            _ => noise.modules * module,
        };
        let modules: usize = noise.adapted().map(|(_, layer)| of_layer(layer)).sum();
        // LayerNorms are trained with branches alone.
        let adapts = noise.layers.iter().any(|layer| layer.branch.is_some());
        let adapted: usize = if adapts { network.adaptation().iter().map(|part| part.len).sum() } else { 0 };
        (modules + adapted) as u64
    }

    fn dissected(&self) -> Option<Dissected<'_>> {
        Some(Dissected::new(&self.core, P::FOLDED))
    }

    fn fingerprint(&self, images: String) -> Work<'_, Fingerprint> {
        Box::pin(self.core.network.fingerprint(images))
    }

    fn state(&self) -> Work<'_, Tree> {
        Box::pin(self.saved())
    }

    fn restore(&mut self, state: Tree, task: Option<Task>) -> Work<'_, ()> {
        Box::pin(self.restored(state, task))
    }

    fn prewarm(&self, task: &Task) -> Result<()> {
        let device = self.core.device();
        // Twins need no compiler.
        if device.is_cpu() { Ok(()) } else { device.compile(&self.rehearsed(task)?) }
    }
}
