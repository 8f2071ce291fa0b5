//! Rivals that train no more than a head: the frozen backbone sees the images of a task once, their features are kept on the
//! host, and the head learns from those.

use std::ops::Range;

use crate::autograd::Tape;
use crate::device::{Captured, Device, Tensor};
use crate::method::features::{FeaturePass, Features, Whose};
use crate::method::footprint::{first_that_fits, sizes};
use crate::method::{
    Extent, Footprint, Learner, Moved, Observer, Over, Parts, Phase, Samples, Solved, Step, Task, Work,
};
use crate::model::fingerprint::{Fingerprint, Hasher};
use crate::model::head::predicted;
use crate::model::vit::Vit;
use crate::store::Tree;
use crate::{Error, Result};

/// Where in the state of a rival its classifier stands, [classes, ..].
pub const HEAD: &str = "head/classifier";
/// And what only those need who learn.
pub const HEAD_STATISTICS: &str = "head/statistics";

/// A task whose images the backbone has seen.
pub(crate) struct Seen<'a> {
    pub task: &'a Task,
    pub(super) features: &'a Features,
    pub(super) fit_batch: usize,
}

impl Seen<'_> {
    /// The features [n, d] row after row.
    pub fn rows(&self) -> &[f64] {
        self.features.rows()
    }

    /// Numbers in a feature, d.
    pub fn width(&self) -> usize {
        self.features.width()
    }

    /// The labels of all images.
    pub fn labels(&self) -> &[u32] {
        &self.task.samples.labels
    }

    /// The classes of the task.
    pub fn classes(&self) -> Range<usize> {
        self.task.first_class..self.task.classes
    }

    /// The images of the batch behind the first `done` of them, nothing where these are all.
    pub fn batch(&self, done: usize) -> Option<Vec<usize>> {
        let n = self.labels().len();
        (done < n).then(|| (done..n.min(done + self.fit_batch)).collect())
    }

    /// Images in a batch.
    pub fn fit_batch(&self) -> usize {
        self.fit_batch
    }

    /// Features [B, d] of some images on a device, and their labels.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn upload(&self, device: &Device, images: &[usize]) -> Result<(Tensor, Vec<u32>)> {
        let labels = images.iter().map(|&i| self.labels()[i]).collect();
        Ok((self.features.plain(device, images)?, labels))
    }
}

/// What a rival learns from the features of a frozen backbone. Larger scores are better.
pub(crate) trait Head: std::fmt::Debug {
    /// What it does with the features of a task.
    const WHAT: &'static str;
    /// Epochs of shuffled images that it wants to be in the schedule of a task.
    const EPOCHS: usize = 0;

    /// Makes room for the classes of a task.
    ///
    /// # Errors
    /// [`Error::Config`] for a task that it cannot learn; [`Error::OutOfMemory`].
    fn begin(&mut self, task: &Task) -> Result<()>;

    /// How far the work on a task goes, at least to 1: in images or the like, but not in batches of `fit_batch`, which another
    /// device may choose otherwise.
    fn total(&self, _seen: &Seen<'_>) -> usize {
        1
    }

    /// Goes on with the work, of which so much is `done`; how much is then.
    ///
    /// # Errors
    /// Device errors, matrices that are not positive definite.
    async fn learn(
        &mut self,
        device: &Device,
        seen: &Seen<'_>,
        done: usize,
        observer: &mut dyn Observer,
    ) -> Result<usize>;

    /// Scores [B, classes] of features f [B, d].
    ///
    /// # Errors
    /// Device errors.
    fn scores(&self, device: &Device, f: &Tensor) -> Result<Tensor>;

    /// The last solve for a ridge classifier, if there was one.
    fn solved(&self) -> Option<Solved> {
        None
    }

    /// Its frozen random matrix, if it has one.
    fn random(&self) -> Option<&Tensor> {
        None
    }

    /// All that was learned: `classifier` [classes, ..], and below `statistics` what scores do not need.
    ///
    /// # Errors
    /// Device errors.
    async fn state(&self, device: &Device) -> Result<Tree>;

    /// What [`Head::state`] gave; there may be no `statistics`.
    ///
    /// # Errors
    /// [`Error::Store`] where it does not fit; device errors.
    async fn restore(&mut self, device: &Device, tree: Tree) -> Result<()>;

    /// As it is when it knows so many classes, with nothing in particular in it, on a device that only plans.
    ///
    /// # Errors
    /// Those of plans.
    fn rehearsal(&self, planner: &Device, classes: usize) -> Result<Self>
    where
        Self: Sized;

    /// Dispatches what a step that learns from features f [B, d] needs, to compile it ahead.
    ///
    /// # Errors
    /// Those of plans.
    fn plan(&self, _device: &Device, _f: &Tensor, _classes: usize) -> Result<()> {
        Ok(())
    }

    /// Allocates on a device that only plans what learning from features f [B, d], or from none, takes at most, and returns
    /// what stays.
    ///
    /// # Errors
    /// Those of plans.
    fn occupy(&self, _planner: &Device, _f: &Tensor, _classes: usize) -> Result<Vec<Tensor>> {
        Ok(Vec::new())
    }
}

/// A learner that has a head on a frozen backbone.
pub(crate) struct Frozen<H> {
    vit: Vit,
    head: H,
    fit_batch: usize,
    active: Option<Active>,
}

/// The task that is being learned.
struct Active {
    task: Task,
    pass: FeaturePass,
    /// What the pass gave.
    features: Option<Features>,
    /// How far the work of the head is.
    done: usize,
    /// Whether it was told that they began.
    told: bool,
}

impl<H: Head> std::fmt::Debug for Frozen<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frozen").field("head", &self.head).finish_non_exhaustive()
    }
}

/// Features [B, d] of images by a backbone that nothing stands behind.
pub(super) fn features(vit: &Vit, images: &Tensor) -> Result<Tensor> {
    let mut tape = Tape::new(vit.device(), []);
    Ok(vit.features(&mut tape, images, |tape, j, x| vit.block(tape, j, &x))?.value().clone())
}

impl<H: Head> Frozen<H> {
    /// # Errors
    /// [`Error::Config`] for a `fit_batch` of 0.
    pub fn new(vit: Vit, head: H, fit_batch: usize) -> Result<Self> {
        if fit_batch == 0 {
            return Err(Error::Config("`fit_batch` must be at least 1, got 0".into()));
        }
        Ok(Self { vit, head, fit_batch, active: None })
    }

    /// What it learned.
    pub fn head(&self) -> &H {
        &self.head
    }

    fn activate(&mut self, task: Task) -> Result<Active> {
        task.check()?;
        self.head.begin(&task)?;
        let pass = FeaturePass::new(Whose::Backbone { turns: 1 });
        Ok(Active { task, pass, features: None, done: 0, told: false })
    }

    async fn take_step(&mut self, observer: &mut dyn Observer) -> Result<Step> {
        let mut active = self.active.take().ok_or_else(|| Error::Unsupported("there is no task to learn".into()))?;
        let over = self.advance(&mut active, observer).await?;
        if over != Over::Task {
            self.active = Some(active);
        }
        Ok(Step { phase: Phase::Analytic, over })
    }

    /// One batch of the pass, or one step of the head.
    async fn advance(&mut self, active: &mut Active, observer: &mut dyn Observer) -> Result<Over> {
        let (vit, device, fit_batch) = (&self.vit, self.vit.device(), self.fit_batch);
        let Some(seen) = &active.features else {
            let make = |images: &Tensor, _: usize, _: usize| features(vit, images);
            active.features = active.pass.step_by(device, fit_batch, &active.task.samples, make, observer).await?;
            return Ok(if active.features.is_some() { Over::Stage } else { Over::Nothing });
        };
        let seen = Seen { task: &active.task, features: seen, fit_batch };
        let total = self.head.total(&seen);
        if !active.told {
            observer.begin(Phase::Analytic, H::WHAT, total);
            observer.advance(active.done);
            active.told = true;
        }
        let done = self.head.learn(device, &seen, active.done, observer).await?;
        observer.advance(done - active.done);
        active.done = done;
        if done < total {
            return Ok(Over::Nothing);
        }
        observer.end(Phase::Analytic, None);
        Ok(Over::Task)
    }

    async fn saved(&self) -> Result<Tree> {
        let (mut tree, device) = (Tree::new(), self.vit.device());
        tree.graft("head", self.head.state(device).await?);
        let Some(active) = &self.active else { return Ok(tree) };
        let mut task = Tree::new();
        task.set("reached", &active.done)?;
        match &active.features {
            Some(features) => features.save(&mut task, "features", device),
            None => active.pass.save(&mut task, device),
        }
        tree.graft("task", task);
        Ok(tree)
    }

    async fn restored(&mut self, mut tree: Tree, task: Option<Task>) -> Result<()> {
        self.head.restore(self.vit.device(), tree.prune("head")).await?;
        let mut inner = tree.prune("task");
        tree.finish()?;
        self.active = None;
        let Some(task) = task else { return inner.finish() };
        let mut active = self.activate(task)?;
        active.done = inner.get("reached")?;
        let width = self.vit.architecture.sizes.dim;
        let images = active.task.samples.len();
        active.features = Features::restore(&mut inner, "features", [1, images, width])?;
        active.pass.restore(&mut inner, images, width)?;
        inner.finish()?;
        let total = match &active.features {
            Some(features) => self.head.total(&Seen { task: &active.task, features, fit_batch: self.fit_batch }),
            None => 1,
        };
        if active.done >= total {
            return Err(inner.error("its task goes less far than it says it is"));
        }
        self.active = Some(active);
        Ok(())
    }

    /// Dispatches a pass over images, learning, and an evaluation by `head` on the same device.
    fn plan(&self, device: &Device, samples: &Samples, images: usize, head: &H, classes: usize) -> Result<()> {
        let f = features(&self.vit.on(device), &samples.stand_in(device, images)?)?;
        head.plan(device, &f, classes)?;
        predicted(device, &head.scores(device, &f)?)?;
        Ok(())
    }

    /// Bytes of a pass, of learning, and of an evaluation, beside what is frozen.
    fn pass_bytes(&self, extent: &Extent, images: usize) -> Result<u64> {
        let (planner, d) = (self.vit.device().as_planner(), self.vit.architecture.sizes.dim);
        let head = self.head.rehearsal(&planner, extent.classes)?;
        let held = head.occupy(&planner, &planner.reals(&[0, d])?, extent.classes)?;
        // The scores of a batch wait while the next ones are computed.
        let waiting = planner.reals(&[images, extent.classes])?;
        let seen = extent.samples.stand_in(&planner, images)?;
        let f = features(&self.vit.on(&planner), &seen)?;
        predicted(&planner, &head.scores(&planner, &f)?)?;
        drop((seen, f, held, waiting));
        let f = planner.reals(&[images, d])?;
        head.occupy(&planner, &f, extent.classes)?;
        Ok(planner.stats().peak_bytes_in_use)
    }

    /// What a pass, learning and an evaluation on batches of the task's sizes dispatch.
    fn rehearsed(&self, task: &Task) -> Result<Vec<Captured>> {
        let planner = self.vit.device().as_planner();
        let head = self.head.rehearsal(&planner, task.classes)?;
        let n = task.samples.len();
        let mut batches = vec![n.min(self.fit_batch), n % self.fit_batch];
        batches.retain(|&size| size > 0);
        planner.capture(|| {
            batches.iter().try_for_each(|&size| self.plan(&planner, &task.samples, size, &head, task.classes))
        })
    }
}

impl<H: Head> Learner for Frozen<H> {
    fn backbone(&self) -> &Vit {
        &self.vit
    }

    fn fit_batch(&self) -> usize {
        self.fit_batch
    }

    fn fit_memory(&mut self, extent: &Extent, limit: u64) -> Result<Footprint> {
        let whole = self.fit_batch.min(extent.images).max(1);
        let resident = self.vit.bytes() + self.head.random().map_or(0, Tensor::bytes);
        let (fit_batch, bytes) = first_that_fits(sizes(whole), limit, "a pass over images", |images| {
            Ok(resident + self.pass_bytes(extent, images)?)
        })?;
        if fit_batch < whole {
            self.fit_batch = fit_batch;
        }
        Ok(Footprint { bytes, parts: Parts::default(), fit_batch: self.fit_batch })
    }

    fn epochs(&self, _: usize) -> usize {
        H::EPOCHS
    }

    fn begin(&mut self, task: Task) -> Result<()> {
        self.active = Some(self.activate(task)?);
        Ok(())
    }

    fn step<'a>(&'a mut self, observer: &'a mut dyn Observer) -> Work<'a, Step> {
        Box::pin(self.take_step(observer))
    }

    fn logits(&self, images: &Tensor, _: usize) -> Result<Tensor> {
        self.head.scores(self.vit.device(), &features(&self.vit, images)?)
    }

    fn solved(&self) -> Option<Solved> {
        self.head.solved()
    }

    /// The backbone is frozen.
    fn moved(&self) -> Option<Moved> {
        None
    }

    fn fingerprint(&self, images: String) -> Work<'_, Fingerprint> {
        Box::pin(async move {
            let mut random = Hasher::default();
            if let Some(matrix) = self.head.random() {
                random.add("R", matrix.shape(), &self.vit.device().read::<f64>(matrix).await?);
            }
            let backbone = self.vit.fingerprint.clone();
            Ok(Fingerprint { images, backbone, noise: "none".into(), random: random.finish() })
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
