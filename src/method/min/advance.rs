//! What the operations of a task do.

use super::{Active, Keep, Min, Op, Procedure, Prototype, Share, UnderWay};
use crate::device::Tensor;
use crate::method::calibrate::scale_of_least_loss;
use crate::method::features::{FeaturePass, Features};
use crate::method::pass::Pass;
use crate::method::random::held_out;
use crate::method::{Core, Moved, Observer, Point, Task};
use crate::model::head::{self, Drift};
use crate::{Error, Result};

/// Images by which the scale of blocks is measured.
const SCALE_IMAGES: usize = 64;

impl<P: Procedure> Min<P> {
    /// Carries on with the operation under way; true where it is over.
    pub(super) async fn advance(&mut self, active: &mut Active, observer: &mut dyn Observer) -> Result<bool> {
        let core = &mut self.core;
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
                let Some(found) = pass.step(core, &active.task.samples, observer).await? else { return Ok(false) };
                core.take_prototype(prototype, found, observer)?;
            }
            Op::Solve { first } => {
                core.solve(observer).await?;
                if first {
                    observer.inspect(Point::StepOne(&core.weights))?;
                }
            }
            Op::Expand => self.procedure.expand(core, &mut self.init, observer)?,
            Op::Train(lesson) => {
                if let UnderWay::Nothing = active.under_way {
                    active.under_way = UnderWay::Training(Box::new(self.training(active, lesson)?));
                }
                let UnderWay::Training(run) = &mut active.under_way else { unreachable!("training is under way") };
                if !run.step(&mut self.core, &active.task, active.floor.as_ref(), observer).await? {
                    return Ok(false);
                }
            }
            Op::Fold => core.refold(P::FOLDED).await?,
            Op::Scale => core.measure_scale(&active.task).await?,
            Op::Features(keep) => {
                if let UnderWay::Nothing = active.under_way {
                    active.under_way = UnderWay::Features(FeaturePass::new(keep.whose()));
                }
                let UnderWay::Features(pass) = &mut active.under_way else { unreachable!("a pass is under way") };
                let Some(found) = pass.step(core, &active.task.samples, observer).await? else { return Ok(false) };
                active.take_features(core, keep, found, observer)?;
            }
            Op::Fit(share) => {
                if let UnderWay::Nothing = active.under_way {
                    active.under_way = UnderWay::Fit(0);
                }
                let UnderWay::Fit(done) = active.under_way else { unreachable!("a fit is under way") };
                let done = active.fit(core, share, done).await?;
                active.under_way = UnderWay::Fit(done.unwrap_or_default());
                if done.is_some() {
                    return Ok(false);
                }
            }
            Op::Calibrate { seed } => active.calibrate(core, seed).await?,
            Op::Compensate { ridge } => active.compensate(core, ridge).await?,
        }
        active.under_way = UnderWay::Nothing;
        Ok(true)
    }
}

impl Core {
    fn take_prototype(&mut self, what: Prototype, found: Vec<f64>, observer: &mut dyn Observer) -> Result<()> {
        match what {
            Prototype::Unused => {}
            Prototype::New => {
                observer.inspect(Point::PrototypeBefore(&found))?;
                self.prototypes.push(found);
            }
            Prototype::Newest => {
                self.prototypes.pop();
                self.prototypes.push(found);
            }
        }
        Ok(())
    }

    /// Measures the scale of blocks by the first images of a task.
    async fn measure_scale(&mut self, task: &Task) -> Result<()> {
        let n = SCALE_IMAGES.min(task.samples.len());
        let batches = task.samples.batches(0..n, self.fit_batch, None);
        let sizes: Vec<usize> = batches.iter().map(|batch| batch.images.len()).collect();
        let mut rms = vec![0.0; self.network.noise.layers.len()];
        for (pixels, size) in task.samples.stream(batches)?.zip(sizes) {
            let images = task.samples.upload(self.device(), &pixels?, 0..size)?;
            let found = self.network.block_scales(&images).await?;
            rms.iter_mut().zip(found).for_each(|(x, scale)| *x += scale * size as f64 / n as f64);
        }
        self.network.noise.scale(&rms)
    }
}

impl Active {
    fn take_features(
        &mut self,
        core: &mut Core,
        keep: Keep,
        found: Features,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        match keep {
            Keep::Floor { .. } => self.floor = Some(found),
            Keep::Before => {
                core.take_prototype(Prototype::New, found.mean(), observer)?;
                self.before = Some(found);
            }
            Keep::After => {
                core.take_prototype(Prototype::Newest, found.mean(), observer)?;
                let drift = self.before.as_ref().map(|before| before.distance(&found));
                core.moved = drift.map(|drift| Moved { drift, explained: None });
                self.after = Some(found);
            }
        }
        Ok(())
    }

    /// The newest features of the network.
    fn newest(&self) -> Result<&Features> {
        let missing = || Error::Unsupported("no features were kept".into());
        self.after.as_ref().or(self.before.as_ref()).ok_or_else(missing)
    }

    /// The images of a share.
    pub(super) fn share(&self, share: Share) -> Vec<usize> {
        let n = self.task.samples.len();
        match share {
            Share::All => (0..n).collect(),
            Share::Rest { seed } => held_out(seed, self.task.index, n).1,
        }
    }

    /// Adds one batch after the first `done` images of a share to the statistics; how many are done, nothing once all are.
    async fn fit(&self, core: &mut Core, share: Share, done: usize) -> Result<Option<usize>> {
        let (samples, images) = (&self.task.samples, self.share(share));
        let batch = &images[done..images.len().min(done + core.fit_batch)];
        let p = self.random_features(core, self.newest()?, batch)?;
        let labels: Vec<u32> = batch.iter().map(|&i| samples.labels[i]).collect();
        let device = core.device().clone();
        core.statistics.add(&device, &p, &labels).await?;
        let done = done + batch.len();
        Ok((done < images.len()).then_some(done))
    }

    /// Random features of some images.
    fn random_features(&self, core: &Core, of: &Features, images: &[usize]) -> Result<Tensor> {
        let floor = self.floor.as_ref().map(|floor| floor.plain(core.device(), images)).transpose()?;
        core.random_features(&of.plain(core.device(), images)?, floor.as_ref())
    }

    async fn calibrate(&mut self, core: &Core, seed: u64) -> Result<()> {
        let (samples, device) = (&self.task.samples, core.device());
        let (held, _) = held_out(seed, self.task.index, samples.len());
        let solved = core.solved.ok_or_else(|| Error::Unsupported("there is no gamma to calibrate with".into()))?;
        let weights = core.statistics.solve(device, solved.gamma, &mut |_| ()).await?.weights;
        let mut logits = Vec::new();
        for batch in held.chunks(core.fit_batch) {
            let p = self.random_features(core, self.newest()?, batch)?;
            logits.extend(device.read::<f64>(&head::logits(device, &p, &weights)?).await?);
        }
        let labels: Vec<u32> = held.iter().map(|&i| samples.labels[i]).collect();
        self.scale = scale_of_least_loss(&logits, &labels);
        Ok(())
    }

    async fn compensate(&self, core: &mut Core, ridge: f64) -> Result<()> {
        let (Some(before), Some(after)) = (&self.before, &self.after) else {
            return Err(Error::Unsupported("features from before and after are needed".into()));
        };
        let (device, network) = (core.device(), &core.network);
        let n = self.task.samples.len();
        let mut drift = Drift::new(device, network.m(), network.still(), n, ridge).await?;
        for batch in drift.order().chunks(core.fit_batch) {
            let [old, new] = [before, after].map(|features| self.random_features(core, features, batch));
            drift.add(&old?, &new?).await?;
        }
        let map = drift.finish().await?;
        core.statistics.compensate(&map).await?;
        if let Some(moved) = &mut core.moved {
            moved.explained = Some(map.explained());
        }
        Ok(())
    }
}
