//! What learning takes of a device's memory, counted before it begins by a device that only plans.

use crate::config::MAX_NOISE_HIDDEN;
use crate::device::{Captured, Device, DeviceClass};
use crate::method::min::Op;
use crate::method::{Core, Min, Parts, Procedure, Samples, Task};
use crate::model::fold;
use crate::model::head::{self, Statistics};
use crate::{Error, Result};

/// Fewer images than these are taken at once only where even recomputation does not make room for them.
const FEW: usize = 8;

/// The most that a learner comes to in a run.
#[derive(Clone, Debug)]
pub struct Extent {
    /// Tasks learned in the end.
    pub tasks: usize,
    pub classes: usize,
    /// Classes of the largest task.
    pub task_classes: usize,
    /// Images of the largest training batch; 0 where nothing more is learned.
    pub batch: usize,
    /// Images of the longest pass.
    pub images: usize,
    /// What images are like.
    pub samples: Samples,
}

impl Extent {
    /// The last task, of which nothing but its sizes counts.
    pub(super) fn task(&self) -> Task {
        let schedule = vec![vec![0; self.batch]];
        let first_class = self.classes - self.task_classes;
        Task { index: self.tasks - 1, samples: self.samples.clone(), first_class, classes: self.classes, schedule }
    }
}

/// How much memory a learner takes of its device, and what was done to stay within a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Most bytes of live tensors.
    pub bytes: u64,
    /// How a training batch is taken.
    pub parts: Parts,
    /// Images of a batch of a pass that trains nothing.
    pub fit_batch: usize,
}

/// Sizes of parts: the whole, half of it, and so on.
pub(super) fn sizes(whole: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(whole), |&n| (n > 1).then(|| n.div_ceil(2)))
}

/// Ways to take a batch, the fastest first. Parts cost next to nothing, recomputation a third of the step.
fn ways(batch: usize, halves: bool) -> impl Iterator<Item = Parts> {
    let all = move |recompute| sizes(batch).map(move |images| Parts { images, recompute, halves });
    all(false).filter(move |parts| parts.images >= FEW.min(batch)).chain(all(true))
}

/// The first of `ways` that takes at most `limit` bytes, and what it takes.
pub(super) fn first_that_fits<T: Copy>(
    ways: impl IntoIterator<Item = T>,
    limit: u64,
    what: &str,
    bytes: impl Fn(T) -> Result<u64>,
) -> Result<(T, u64)> {
    let mut refused = Error::Config(format!("`batch_size`: there are no images for {what}"));
    for way in ways {
        refused = match bytes(way) {
            Ok(bytes) if bytes <= limit => return Ok((way, bytes)),
            Ok(needed) => Error::Limit {
                what: format!("{what}, in the smallest parts,"),
                subject: "`memory_mib`, in bytes,".into(),
                needed,
                limit,
                way_out: "give it more, or use a smaller backbone, image_size or buffer_size",
            },
            // A tensor that no binding holds is smaller in smaller parts.
            Err(error @ Error::Limit { .. }) => error,
            Err(error) => return Err(error),
        };
    }
    Err(refused)
}

impl Core {
    /// A copy with `modules`, on a device that plans as this one's and has nothing else on it.
    fn rehearsal(&self, classes: usize, modules: usize) -> Result<Self> {
        let (planner, m) = (self.device().as_planner(), self.network.m());
        let mut trial = Self::new(self.network.on(&planner), self.gamma, self.fit_batch, self.sample_seed)?;
        // Only their kind counts.
        trial.statistics =
            if self.statistics.is_by_class() { Statistics::by_class(1)? } else { Statistics::new(&planner, 1)? };
        trial.parts = self.parts;
        trial.weights = planner.reals(&[classes, m])?;
        trial.network.noise.resize(modules)?;
        trial.folded = fold::stand_in(&planner, &trial.network.noise)?;
        Ok(trial)
    }

    /// Bytes of a pass with all modules, of the solve, and of an evaluation.
    fn pass_bytes(&self, extent: &Extent, modules: usize, images: usize) -> Result<u64> {
        let trial = self.rehearsal(extent.classes, modules)?;
        let planner = trial.device().clone();
        let prototype = planner.reals(&[trial.network.vit.architecture.sizes.dim])?;
        let images = extent.samples.stand_in(&planner, images)?;
        let held = trial.statistics.occupy(&planner, &planner.reals(&[0, self.network.m()])?, extent.classes)?;
        let p = trial.pass_batch(&images, &prototype, 1.0, 0, true)?;
        // The scores of a batch wait while the next ones are computed.
        let waiting = planner.reals(&[images.shape()[0], extent.classes])?;
        head::predicted(&planner, &trial.scores(&images, 0)?.logits)?;
        drop((held, waiting));
        if let Some(p) = p {
            trial.statistics.occupy(&planner, &p, extent.classes)?;
        }
        Ok(planner.stats().peak_bytes_in_use)
    }

    /// Bytes of carrying statistics over to the features of a task of so many samples, batch by batch.
    fn compensation_bytes(&self, extent: &Extent, modules: usize, samples: usize, images: usize) -> Result<u64> {
        let trial = self.rehearsal(extent.classes, modules)?;
        let planner = trial.device().clone();
        // Before and after.
        let [p, _after] = [planner.reals(&[images, self.network.m()])?, planner.reals(&[images, self.network.m()])?];
        let still = self.network.still();
        planner.capture(|| head::rehearse_drift(&planner, &p, still, samples, extent.classes))?;
        Ok(planner.stats().peak_bytes_in_use)
    }

    /// Takes the batches of a compensation such that all tensors stay within `limit` bytes; what they take. Nothing where the
    /// host does it.
    fn fit_compensation(&mut self, extent: &Extent, modules: usize, limit: u64) -> Result<u64> {
        if self.device().caps().class == DeviceClass::Cpu {
            return Ok(0);
        }
        let (whole, resident) = (self.fit_batch.min(extent.images).max(1), self.network.bytes());
        // Fewer samples than features may take more than many.
        let few = extent.images.clamp(1, self.network.m().saturating_sub(1).max(1));
        let (fit_batch, bytes) = first_that_fits(sizes(whole), limit, "the compensation of a drift", |images| {
            let bytes = |samples| self.compensation_bytes(extent, modules, samples, images);
            Ok(resident + bytes(extent.images.max(1))?.max(bytes(few)?))
        })?;
        if fit_batch < whole {
            self.fit_batch = fit_batch;
        }
        Ok(bytes)
    }

    /// Takes passes in such batches that all tensors stay within `limit` bytes; what they take.
    ///
    /// # Errors
    /// [`Error::Limit`] where not even single images do.
    pub fn fit_passes(&mut self, extent: &Extent, modules: usize, limit: u64) -> Result<u64> {
        let (whole, resident) = (self.fit_batch.min(extent.images).max(1), self.network.bytes());
        let (fit_batch, bytes) = first_that_fits(sizes(whole), limit, "an analytic pass", |images| {
            Ok(resident + self.pass_bytes(extent, modules, images)?)
        })?;
        if fit_batch < whole {
            self.fit_batch = fit_batch;
        }
        Ok(bytes)
    }
}

impl<P: Procedure> Min<P> {
    /// See [`Learner::fit_memory`](crate::method::Learner::fit_memory).
    pub(super) fn fit(&mut self, extent: &Extent, limit: u64) -> Result<Footprint> {
        let trains = extent.batch > 0 && self.procedure().ops(0).iter().any(|op| matches!(op, Op::Train(_)));
        let modules = if self.procedure().ops(0).contains(&Op::Expand) { extent.tasks } else { 0 };
        let mut bytes = self.core().network.bytes();
        if trains {
            self.check_noise(extent)?;
            let (parts, training) =
                first_that_fits(ways(extent.batch, self.core().parts.halves), limit, "a training step", |parts| {
                    Ok(bytes + self.training_bytes(extent, parts)?)
                })?;
            self.core_mut().parts = parts;
            bytes = training;
        }
        bytes = bytes.max(self.core_mut().fit_passes(extent, modules, limit)?);
        if trains && extent.tasks > 1 && self.compensates(1) {
            bytes = bytes.max(self.core_mut().fit_compensation(extent, modules, limit)?);
        }
        let fit_batch = self.core().fit_batch;
        Ok(Footprint { bytes, parts: self.core().parts, fit_batch })
    }

    fn compensates(&self, task: usize) -> bool {
        self.procedure().ops(task).iter().any(|op| matches!(op, Op::Compensate { .. }))
    }

    /// Random numbers of a batch are counted in 32 bits.
    fn check_noise(&self, extent: &Extent) -> Result<()> {
        let network = &self.core().network;
        let numbers = [network.vit.architecture.tokens(), network.noise.layout.d2].map(|n| n as u64);
        let numbers = numbers.into_iter().fold(extent.batch as u64, u64::saturating_mul);
        if numbers > u64::from(u32::MAX) {
            return Err(Error::Config(format!(
                "`batch_size` = {}: its tokens times `noise_hidden` (at most {MAX_NOISE_HIDDEN}) are {numbers} random \
                 numbers, 2^32 is the most",
                extent.batch
            )));
        }
        Ok(())
    }

    /// Bytes of a training step beside the network and with the statistics. The first task may train other parameters than
    /// the last.
    fn training_bytes(&self, extent: &Extent, parts: Parts) -> Result<u64> {
        let (mut most, m) = (0, self.core().network.m());
        for modules in [0, extent.tasks - 1] {
            let mut trial = self.core().rehearsal(extent.classes, modules)?;
            trial.parts = parts;
            let planner = trial.device().clone();
            let held = trial.statistics.occupy(&planner, &planner.reals(&[0, m])?, extent.classes)?;
            self.procedure().plan(&mut trial, &extent.task())?;
            drop(held);
            most = most.max(planner.stats().peak_bytes_in_use);
        }
        Ok(most)
    }

    /// What a training step, a pass, a compensation and an evaluation on batches of the task's sizes dispatch.
    pub(super) fn rehearsed(&self, task: &Task) -> Result<Vec<Captured>> {
        let mut trial = self.core().rehearsal(task.classes, self.core().network.noise.modules)?;
        let planner: Device = trial.device().clone();
        planner.capture(|| {
            self.procedure().plan(&mut trial, task)?;
            if self.compensates(task.index) {
                let (network, n) = (&trial.network, task.samples.len());
                let p = planner.reals(&[n.min(trial.fit_batch), network.m()])?;
                head::rehearse_drift(&planner, &p, network.still(), n, task.classes)?;
            }
            trial.plan(task)
        })
    }
}
