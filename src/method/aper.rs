//! APER with adapters (RIVALS section 11): adapters that the first task trains, and a head on what they make of images from
//! then on. RanPAC with adapters begins in the same way.
//!
//! Source: arXiv 2303.07338; LAMDA-CL/RevisitingCIL, LAMDA-CL/LAMDA-PILOT, `models/aper_adapter.py`. Differs: none.

use crate::autograd::Tape;
use crate::device::{Device, Tensor};
use crate::method::frozen::{Head, Seen, features};
use crate::method::trained::{Descent, Given, Graded, Pupil};
use crate::method::tuning::{Tuned, Tuning};
use crate::method::{Observer, Solved, Task};
use crate::model::optimizer::Parameter;
use crate::model::vit::Vit;
use crate::store::Tree;
use crate::{Error, Result};

/// A head on features of a backbone with adapters.
#[derive(Debug)]
pub(crate) struct Aper<H> {
    tuned: Tuned,
    /// Whether features of the backbone alone stand before those with adapters, F = [f | f_adapted], or there are none.
    both: bool,
    head: H,
}

impl<H: Head> Aper<H> {
    /// With a head for features of 2 d numbers where those of the backbone are among them, else of d.
    pub fn new(tuning: Tuning, both: bool, head: H) -> Self {
        Self { tuned: Tuned::new(tuning), both, head }
    }

    /// What learned from features.
    pub fn head(&self) -> &H {
        &self.head
    }
}

impl<H: Head> Pupil for Aper<H> {
    const LOOKS: bool = true;
    const WHAT: &'static str = H::WHAT;
    const EPOCHS: usize = H::EPOCHS;

    fn epochs(&self, task: usize) -> usize {
        if task == 0 { self.tuned.epochs(task) } else { 0 }
    }

    async fn begin(&mut self, vit: &Vit, task: &Task) -> Result<()> {
        if task.index == 0 {
            self.tuned.begin(vit, task)?;
        }
        self.head.begin(task)
    }

    fn descent(&self, _: &Task) -> Descent {
        self.tuned.descent()
    }

    fn loss(&self, vit: &Vit, tape: &mut Tape, given: &Given<'_>) -> Result<Graded> {
        self.tuned.loss(vit, tape, given)
    }

    fn conclude(&mut self, _: &Task) {
        self.tuned.conclude();
    }

    fn features(&self, vit: &Vit, images: &Tensor) -> Result<Tensor> {
        let adapted = self.tuned.features(1, vit, images)?.pop();
        let adapted = adapted.ok_or_else(|| Error::Unsupported("no task has trained adapters".into()))?;
        if self.both { beside(vit.device(), &[features(vit, images)?, adapted]) } else { Ok(adapted) }
    }

    fn width(&self, d: usize) -> usize {
        if self.both { 2 * d } else { d }
    }

    fn total(&self, seen: &Seen<'_>) -> usize {
        self.head.total(seen)
    }

    async fn learn(
        &mut self,
        device: &Device,
        seen: &Seen<'_>,
        done: usize,
        observer: &mut dyn Observer,
    ) -> Result<usize> {
        self.head.learn(device, seen, done, observer).await
    }

    fn scores(&self, vit: &Vit, images: &Tensor) -> Result<Tensor> {
        self.head.scores(vit.device(), &self.features(vit, images)?)
    }

    fn solved(&self) -> Option<Solved> {
        self.head.solved()
    }

    fn learned(&self) -> Vec<Parameter> {
        self.tuned.learned()
    }

    fn random(&self) -> Option<&Tensor> {
        self.head.random()
    }

    async fn state(&self, device: &Device) -> Result<Tree> {
        let mut tree = self.head.state(device).await?;
        tree.graft("adapters", self.tuned.state(device).await?);
        Ok(tree)
    }

    async fn restore(&mut self, vit: &Vit, mut tree: Tree) -> Result<()> {
        self.tuned.restore(vit, tree.prune("adapters"))?;
        self.head.restore(vit.device(), tree).await
    }

    fn rehearsal(&self, vit: &Vit, task: &Task) -> Result<Self> {
        let tuned = self.tuned.rehearsal(vit, 1, task)?;
        Ok(Self { tuned, both: self.both, head: self.head.rehearsal(vit.device(), task.classes)? })
    }

    fn plan(&self, device: &Device, f: &Tensor, classes: usize) -> Result<()> {
        self.head.plan(device, f, classes)
    }

    fn occupy(&self, planner: &Device, f: &Tensor, classes: usize) -> Result<Vec<Tensor>> {
        self.head.occupy(planner, f, classes)
    }
}

/// `[x_0 | x_1 | ..]`, matrices [rows, cols_i] side by side.
///
/// # Errors
/// Device errors.
pub(super) fn beside(device: &Device, parts: &[Tensor]) -> Result<Tensor> {
    let mut tape = Tape::new(device, []);
    let parts: Vec<_> = parts.iter().map(|part| tape.var(part)).collect();
    Ok(tape.concat(&parts.iter().collect::<Vec<_>>())?.value().clone())
}
