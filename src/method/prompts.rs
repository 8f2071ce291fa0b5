//! What methods that learn prompts for a frozen backbone have in common (RIVALS sections 1, 6 to 8): how entries of their pools
//! are drawn, the choice by cosines of queries to keys, the linear head.

use std::ops::Range;
use std::rc::Rc;

use crate::autograd::{Linear, Tape, Var};
use crate::device::{Device, Tensor};
use crate::method::Task;
use crate::method::frozen::features;
use crate::method::trained::Given;
use crate::model::head::prototype::unit_rows;
use crate::model::optimizer::{Parameter, Rule};
use crate::model::state::{put, upload};
use crate::model::vit::Vit;
use crate::store::Tree;
use crate::{Error, Result};

/// A tensor of which every entry along its first dimension is drawn by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// `prompt`, `key` of L2P; the keys of DualPrompt as well.
    Prompt,
    Key,
    /// `g_prompt` and `e_prompt` of DualPrompt.
    General,
    Expert,
    /// `head.weight` and `head.bias`, by class.
    Weight,
    Bias,
    /// `coda.J.P`, `coda.J.K` and `coda.J.A` of CODA-Prompt in block J.
    Component(usize),
    ComponentKey(usize),
    Attention(usize),
}

impl Part {
    /// What it is called in files and states.
    pub fn path(self) -> String {
        match self {
            Self::Prompt => "prompt".into(),
            Self::Key => "key".into(),
            Self::General => "g_prompt".into(),
            Self::Expert => "e_prompt".into(),
            Self::Weight => "head.weight".into(),
            Self::Bias => "head.bias".into(),
            Self::Component(block) => format!("coda.{block}.P"),
            Self::ComponentKey(block) => format!("coda.{block}.K"),
            Self::Attention(block) => format!("coda.{block}.A"),
        }
    }

    /// Different for any two of them.
    pub fn number(self) -> usize {
        match self {
            Self::Prompt => 0,
            Self::Key => 1,
            Self::General => 2,
            Self::Expert => 3,
            Self::Weight => 4,
            Self::Bias => 5,
            Self::Component(block) => 6 + 3 * block,
            Self::ComponentKey(block) => 7 + 3 * block,
            Self::Attention(block) => 8 + 3 * block,
        }
    }
}

/// First numbers: so many of one entry of a part. As they depend on nothing else, a part that grows holds what it would hold
/// if all its entries had been there from the start.
#[derive(Clone)]
pub(crate) struct Draw(Rc<dyn Fn(Part, usize, usize) -> Result<Vec<f64>>>);

impl std::fmt::Debug for Draw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Draw")
    }
}

impl Draw {
    pub fn new(draw: impl Fn(Part, usize, usize) -> Result<Vec<f64>> + 'static) -> Self {
        Self(Rc::new(draw))
    }

    /// Some entries of `n` numbers each, one after the other.
    ///
    /// # Errors
    /// Where there are none; [`Error::OutOfMemory`].
    pub fn entries(&self, part: Part, entries: Range<usize>, n: usize) -> Result<Vec<f64>> {
        let (mut all, shape) = (Vec::new(), [entries.len(), n]);
        let lacking = |_| Error::OutOfMemory { during: format!("`{}` {shape:?}", part.path()) };
        all.try_reserve_exact(shape.iter().product()).map_err(lacking)?;
        for entry in entries {
            all.extend((self.0)(part, entry, n)?);
        }
        Ok(all)
    }

    /// The same on a device, [entries, n].
    ///
    /// # Errors
    /// Those of [`Draw::entries`]; allocation failures.
    pub fn upload(&self, device: &Device, part: Part, entries: Range<usize>, n: usize) -> Result<Tensor> {
        let shape = [entries.len(), n];
        device.upload(&self.entries(part, entries, n)?, &shape)
    }
}

/// How all tasks are trained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    pub rule: Rule,
    /// Epochs of the first task, and of a later one.
    pub epochs: [usize; 2],
}

impl Course {
    pub fn epochs(&self, task: usize) -> usize {
        self.epochs[task.min(1)]
    }
}

/// A linear head for all classes seen so far: weight [C, d] and bias `[C]`. Rows of classes to come would change nothing, since
/// the loss sees the classes of its task alone and predictions those seen.
#[derive(Clone, Debug)]
pub(crate) struct ClassHead {
    weight: Tensor,
    bias: Tensor,
}

impl ClassHead {
    /// With nothing in particular in it.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn new(device: &Device, classes: usize, d: usize) -> Result<Self> {
        Ok(Self { weight: device.reals(&[classes, d])?, bias: device.reals(&[classes])? })
    }

    /// Adds the classes that are missing up to so many.
    ///
    /// # Errors
    /// Those of `draw`; allocation failures.
    pub fn widen(&mut self, device: &Device, classes: usize, draw: &Draw) -> Result<()> {
        let (known, d) = (self.weight.rows(), self.weight.cols());
        let wide = Self::new(device, classes, d)?;
        for (part, old, new, n) in
            [(Part::Weight, &self.weight, &wide.weight, d), (Part::Bias, &self.bias, &wide.bias, 1)]
        {
            let rows = draw.upload(device, part, known..classes, n)?;
            device.copy(old, 0, new, 0, old.len())?;
            device.copy(&rows, 0, new, old.len(), rows.len())?;
        }
        *self = wide;
        Ok(())
    }

    /// Logits [B, classes] of features f [B, d].
    ///
    /// # Errors
    /// Device errors.
    pub fn logits(&self, tape: &mut Tape, f: &Var, classes: Range<usize>) -> Result<Var> {
        let (weight, bias) = (tape.var(&self.weight), tape.var(&self.bias));
        let logits = tape.linear(f, Linear { transposed: true, bias: Some(&bias), ..Linear::new(&weight) })?;
        tape.columns(&logits, classes)
    }

    /// Adds the cross-entropy of images of a task to the tape; it sees the classes of the task alone.
    ///
    /// # Errors
    /// Device errors.
    pub fn cross_entropy(&self, tape: &mut Tape, f: &Var, given: &Given<'_>) -> Result<Var> {
        let logits = self.logits(tape, f, given.classes.clone())?;
        tape.cross_entropy(&logits, &given.labels, given.loss)
    }

    /// Scores [B, C] of features f [B, d].
    ///
    /// # Errors
    /// Device errors.
    pub fn scores(&self, tape: &mut Tape, f: &Var) -> Result<Tensor> {
        Ok(self.logits(tape, f, 0..self.weight.rows())?.value().clone())
    }

    pub fn parameters(&self) -> [Parameter; 2] {
        [(Part::Weight, &self.weight), (Part::Bias, &self.bias)]
            .map(|(part, tensor)| Parameter::whole(&part.path(), tensor))
    }

    /// Adds `classifier` and `bias`.
    ///
    /// # Errors
    /// Device errors.
    pub async fn save(&self, tree: &mut Tree, device: &Device) -> Result<()> {
        put(tree, "classifier", device, &self.weight).await?;
        put(tree, "bias", device, &self.bias).await
    }

    /// What [`ClassHead::save`] gave, for features of the same width.
    ///
    /// # Errors
    /// [`Error::Store`] where it is misshapen; allocation failures.
    pub fn restore(&mut self, tree: &mut Tree, device: &Device) -> Result<()> {
        let classes = tree.shape("classifier")?.first().copied().unwrap_or(0);
        self.weight = upload(tree, "classifier", device, &[classes, self.weight.cols()])?;
        self.bias = upload(tree, "bias", device, &[classes])?;
        Ok(())
    }
}

/// Cosines [B, pool] of queries [B, d] to keys [pool, d].
///
/// # Errors
/// Device errors.
pub(super) fn similarities(tape: &mut Tape, queries: &Tensor, keys: &Tensor) -> Result<Var> {
    let queries = tape.var(&unit_rows(tape.device(), queries)?);
    let keys = tape.var(keys);
    let keys = tape.unit(&keys)?;
    tape.linear(&queries, Linear { transposed: true, ..Linear::new(&keys) })
}

/// The queries of a training step.
///
/// # Errors
/// [`Error::Unsupported`] where there are none.
pub(super) fn queries<'a>(given: &'a Given<'_>) -> Result<&'a Tensor> {
    given.queries.as_ref().ok_or_else(|| Error::Unsupported("prompts need queries, of which there are none".into()))
}

/// A tape that only computes, with the queries [B, d] of images: their features by the backbone alone.
///
/// # Errors
/// Device errors.
pub(super) fn asked(vit: &Vit, images: &Tensor) -> Result<(Tape, Tensor)> {
    Ok((Tape::new(vit.device(), []), features(vit, images)?))
}

/// Refuses a block that the backbone has not.
///
/// # Errors
/// [`Error::Config`].
pub(super) fn check_blocks(vit: &Vit, key: &str, blocks: &[usize]) -> Result<()> {
    let depth = vit.architecture.sizes.depth;
    match blocks.iter().find(|&&block| block >= depth) {
        None => Ok(()),
        Some(block) => {
            Err(Error::Config(format!("`{key}` has block {block}, the backbone has {depth}; blocks count from 0")))
        }
    }
}

/// Refuses a task that a pool for so many has nothing for.
///
/// # Errors
/// [`Error::Config`].
pub(super) fn check_task(task: &Task, key: &str, tasks: usize) -> Result<()> {
    if task.index < tasks {
        return Ok(());
    }
    let index = task.index + 1;
    Err(Error::Config(format!(
        "`{key}` = {tasks}, and this is task {index}; give the number of all tasks that are to come"
    )))
}
