//! What the adapter methods have in common (RIVALS section 10): adapters and a cosine head are trained on the classes of one
//! task; the head is thrown away afterwards.

use std::rc::Rc;

use crate::autograd::Tape;
use crate::device::{Device, Tensor};
use crate::method::Task;
use crate::method::trained::{Descent, Given, Graded};
use crate::model::adapter::{Adapters, Bottleneck, CosineHead, Drops};
use crate::model::optimizer::{Parameter, Rule, Schedule};
use crate::model::vit::Vit;
use crate::store::Tree;
use crate::{Error, Result};

/// What first values are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// D [r, d] of a block.
    Down(usize),
    /// w [C, d] of the head for the C classes of a task.
    Head,
}

/// First values of a task, as many as are wanted.
pub(crate) type Draw = Rc<dyn Fn(usize, First, usize) -> Result<Vec<f64>>>;

/// How adapters are made and trained.
#[derive(Clone)]
pub(crate) struct Tuning {
    pub of: Bottleneck,
    /// Share of the hidden numbers that is dropped while they are trained.
    pub dropout: f64,
    pub rule: Rule,
    /// Of the first task, and of a later one.
    pub epochs: [usize; 2],
    /// Of what is dropped.
    pub seed: u64,
    pub draw: Draw,
}

impl std::fmt::Debug for Tuning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tuning").field("of", &self.of).field("rule", &self.rule).finish_non_exhaustive()
    }
}

/// The adapters of all tasks that trained some, and the head of the one that does.
#[derive(Debug)]
pub(crate) struct Tuned {
    tuning: Tuning,
    adapters: Vec<Adapters>,
    head: Option<CosineHead>,
}

impl Tuned {
    pub fn new(tuning: Tuning) -> Self {
        Self { tuning, adapters: Vec::new(), head: None }
    }

    /// Epochs of the training of a task.
    pub fn epochs(&self, task: usize) -> usize {
        self.tuning.epochs[task.min(1)]
    }

    /// How many tasks have adapters.
    pub fn count(&self) -> usize {
        self.adapters.len()
    }

    /// Fresh adapters and a fresh head for a task.
    ///
    /// # Errors
    /// Those of the first values; allocation failures.
    pub fn begin(&mut self, vit: &Vit, task: &Task) -> Result<()> {
        let (d, classes) = (vit.architecture.sizes.dim, task.classes - task.first_class);
        let Tuning { of, draw, .. } = &self.tuning;
        let down = |block| draw(task.index, First::Down(block), of.hidden * d);
        self.adapters.push(Adapters::new(vit, *of, down)?);
        let weight = draw(task.index, First::Head, classes * d)?;
        self.head = Some(CosineHead::new(vit.device(), &weight, [classes, d])?);
        Ok(())
    }

    /// The newest adapters and the head.
    pub fn descent(&self) -> Descent {
        let mut parameters = self.adapters.last().map(Adapters::parameters).unwrap_or_default();
        parameters.extend(self.head.iter().flat_map(CosineHead::parameters));
        Descent { parameters, rule: self.tuning.rule, schedule: Schedule::HalfCosine, clip: None }
    }

    /// Cross-entropy of the head on features by the newest adapters.
    ///
    /// # Errors
    /// Device errors; [`Error::Unsupported`] where no task has begun.
    pub fn loss(&self, vit: &Vit, tape: &mut Tape, given: &Given<'_>) -> Result<Graded> {
        let (Some(adapters), Some(head)) = (self.adapters.last(), &self.head) else {
            return Err(Error::Unsupported("there are no adapters to train".into()));
        };
        let &Tuning { dropout, seed, .. } = &self.tuning;
        let drops = Drops { share: dropout, seed, step: given.step, first: given.first };
        let f = adapters.features(vit, tape, &given.images, (dropout > 0.0).then_some(drops))?;
        let logits = head.logits(tape, &f)?;
        Ok(tape.cross_entropy(&logits, &given.labels, given.loss)?.into())
    }

    /// The head has done its work.
    pub fn conclude(&mut self) {
        self.head = None;
    }

    /// Features [B, d] of images by the adapters of each of the first `tasks` tasks.
    ///
    /// # Errors
    /// Device errors.
    pub fn features(&self, tasks: usize, vit: &Vit, images: &Tensor) -> Result<Vec<Tensor>> {
        let of = |adapters: &Adapters| {
            let mut tape = Tape::new(vit.device(), []);
            Ok(adapters.features(vit, &mut tape, images, None)?.value().clone())
        };
        self.adapters.iter().take(tasks).map(of).collect()
    }

    /// All adapters.
    pub fn learned(&self) -> Vec<Parameter> {
        let of = |(i, adapters): (usize, &Adapters)| {
            let named = move |p: Parameter| Parameter { path: format!("{i}/{}", p.path), ..p };
            adapters.parameters().into_iter().map(named)
        };
        self.adapters.iter().enumerate().flat_map(of).collect()
    }

    /// Adapters by task, their number as `count`, and the head where there is one as `head`.
    ///
    /// # Errors
    /// Device errors.
    pub async fn state(&self, device: &Device) -> Result<Tree> {
        let mut tree = Tree::new();
        tree.set("count", &self.adapters.len())?;
        for (i, adapters) in self.adapters.iter().enumerate() {
            tree.graft(&i.to_string(), adapters.state(device).await?);
        }
        if let Some(head) = &self.head {
            tree.graft("head", head.state(device).await?);
        }
        Ok(tree)
    }

    /// What [`Tuned::state`] gave.
    ///
    /// # Errors
    /// [`Error::Store`] where it does not fit; allocation failures.
    pub fn restore(&mut self, vit: &Vit, mut tree: Tree) -> Result<()> {
        let count: usize = tree.get("count")?;
        let adapters = |i: usize| Adapters::restore(vit, self.tuning.of, tree.prune(&i.to_string()));
        self.adapters = (0..count).map(adapters).collect::<Result<_>>()?;
        let head = tree.prune("head");
        let d = vit.architecture.sizes.dim;
        self.head = if head.is_empty() { None } else { Some(CosineHead::restore(vit.device(), d, head)?) };
        tree.finish()
    }

    /// With adapters of so many tasks, and a head for the classes of one, with nothing in particular in them.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn rehearsal(&self, vit: &Vit, count: usize, task: &Task) -> Result<Self> {
        let adapters = (0..count).map(|_| Adapters::stand_in(vit, self.tuning.of)).collect::<Result<_>>()?;
        let shape = [task.classes - task.first_class, vit.architecture.sizes.dim];
        let head = Some(CosineHead::new(vit.device(), &vec![0.0; shape[0] * shape[1]], shape)?);
        Ok(Self { tuning: self.tuning.clone(), adapters, head })
    }
}
