//! MiN as a learner: a task is a list of operations, which a profile makes and one place carries out.

use crate::device::Tensor;
use crate::method::pass::{Fit, Pass};
use crate::method::training::{Run, Training};
use crate::method::{Core, Extent, Footprint, Init, Learner, Observer, Over, Phase, Point, Solved, Step, Task, Work};
use crate::model::fingerprint::Fingerprint;
use crate::model::head::Statistics;
use crate::model::noise::Noise;
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

/// One operation of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    Train,
    /// Folds the noise layers for inference.
    Fold,
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
    /// The training of the newest module beside an auxiliary classifier `aux` [classes, m].
    ///
    /// # Errors
    /// Allocation failures.
    fn training(&self, core: &Core, aux: Tensor) -> Result<Training>;
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
}

enum UnderWay {
    Nothing,
    Pass(Pass),
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

    /// The training of operation [`Op::Train`], at its beginning.
    fn training(&self, task: &Task) -> Result<Run> {
        let aux = self.core.device().zeros(&[task.classes, self.core.network.random.cols()])?;
        Run::new(self.core.device(), self.procedure.training(&self.core, aux)?)
    }

    /// Carries on with the operation under way; true where it is over.
    async fn advance(&mut self, active: &mut Active, observer: &mut dyn Observer) -> Result<bool> {
        let (core, task) = (&mut self.core, &active.task);
        match active.ops[active.at] {
            Op::Keep => active.kept = Some(core.statistics.fork().await?),
            Op::Return => {
                let kept = active.kept.take();
                core.statistics = kept.ok_or_else(|| Error::Unsupported("no statistics were kept".into()))?;
            }
            Op::Pass { what, fit, epoch, prototype } => {
                if let UnderWay::Nothing = active.under_way {
                    active.under_way = UnderWay::Pass(Pass::new(core, what, fit, epoch)?);
                }
                let UnderWay::Pass(pass) = &mut active.under_way else { unreachable!("a pass is under way") };
                let Some(found) = pass.step(core, &task.samples, observer).await? else { return Ok(false) };
                match prototype {
                    Prototype::Unused => {}
                    Prototype::New => {
                        observer.inspect(Point::PrototypeBefore(&found))?;
                        core.prototypes.push(found);
                    }
                    Prototype::Newest => {
                        core.prototypes.pop();
                        core.prototypes.push(found);
                    }
                }
            }
            Op::Solve { first } => {
                core.solve(observer).await?;
                if first {
                    observer.inspect(Point::StepOne(&core.weights))?;
                }
            }
            Op::Expand => self.procedure.expand(core, &mut self.init, observer)?,
            Op::Train => {
                if let UnderWay::Nothing = active.under_way {
                    active.under_way = UnderWay::Training(Box::new(self.training(task)?));
                }
                let UnderWay::Training(run) = &mut active.under_way else { unreachable!("training is under way") };
                if !run.step(&mut self.core, task, observer).await? {
                    return Ok(false);
                }
            }
            Op::Fold => core.refold(P::FOLDED).await?,
        }
        active.under_way = UnderWay::Nothing;
        Ok(true)
    }

    async fn take_step(&mut self, observer: &mut dyn Observer) -> Result<Step> {
        let mut active = self.active.take().ok_or_else(|| Error::Unsupported("there is no task to learn".into()))?;
        let op = active.ops[active.at];
        let phase = if op == Op::Train { Phase::Noise } else { Phase::Analytic };
        if self.advance(&mut active, observer).await? {
            active.at += 1;
            if active.at == active.ops.len() {
                return Ok(Step { phase, over: Over::Task });
            }
        }
        let stage = matches!(op, Op::Solve { .. } | Op::Train) && matches!(active.under_way, UnderWay::Nothing);
        self.active = Some(active);
        Ok(Step { phase, over: if stage { Over::Stage } else { Over::Nothing } })
    }

    fn activate(&mut self, task: Task) -> Result<Active> {
        task.check()?;
        self.core.statistics.widen(task.classes)?;
        let ops = self.procedure.ops(task.index);
        Ok(Active { task, ops, at: 0, under_way: UnderWay::Nothing, kept: None })
    }

    async fn saved(&self) -> Result<Tree> {
        let mut tree = Tree::new();
        tree.graft("core", self.core.state().await?);
        let Some(active) = &self.active else { return Ok(tree) };
        let mut task = Tree::new();
        task.set("operation", &active.at)?;
        if let Some(kept) = &active.kept {
            task.graft("kept", kept.state().await?);
        }
        match &active.under_way {
            UnderWay::Nothing => {}
            UnderWay::Pass(pass) => task.graft("pass", pass.state(&self.core).await?),
            UnderWay::Training(run) => task.graft("training", run.state(&self.core).await?),
        }
        tree.graft("task", task);
        Ok(tree)
    }

    async fn restored(&mut self, mut tree: Tree, task: Option<Task>) -> Result<()> {
        self.core.restore(tree.prune("core")).await?;
        if self.core.network.noise.modules > 0 {
            self.core.refold(P::FOLDED).await?;
        }
        let mut inner = tree.prune("task");
        tree.finish()?;
        let Some(task) = task else {
            self.active = None;
            return inner.finish();
        };
        let mut active = self.activate(task)?;
        active.at = inner.get("operation")?;
        let Some(&op) = active.ops.get(active.at) else {
            return Err(inner.error("its task has fewer operations than it says are done"));
        };
        let kept = inner.prune("kept");
        if !kept.is_empty() {
            let mut statistics = self.core.statistics.like()?;
            statistics.restore(self.core.device(), kept).await?;
            active.kept = Some(statistics);
        }
        let (pass, training) = (inner.prune("pass"), inner.prune("training"));
        match op {
            Op::Pass { what, fit, epoch, .. } if !pass.is_empty() => {
                let mut started = Pass::new(&self.core, what, fit, epoch)?;
                started.restore(&self.core, &active.task.samples, pass)?;
                active.under_way = UnderWay::Pass(started);
            }
            Op::Train if !training.is_empty() => {
                let mut run = self.training(&active.task)?;
                run.restore(&self.core, &active.task, training)?;
                active.under_way = UnderWay::Training(Box::new(run));
            }
            _ => {
                pass.finish()?;
                training.finish()?;
            }
        }
        self.active = Some(active);
        inner.finish()
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

    fn solved(&self) -> Option<Solved> {
        self.core.solved
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
