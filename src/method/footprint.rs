//! What learning takes of a device's memory, counted before it begins by a device that only plans.

use crate::device::Device;
use crate::method::{Core, Min, Parts, Procedure, Task};
use crate::model::fold;
use crate::{Error, Result};

/// Fewer images than these are taken at once only where even recomputation does not make room for them.
const FEW: usize = 8;

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
fn sizes(whole: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(whole), |&n| (n > 1).then(|| n.div_ceil(2)))
}

/// Ways to take a batch, the fastest first. Parts cost next to nothing, recomputation a third of the step.
fn ways(batch: usize, halves: bool) -> Vec<Parts> {
    let all = |recompute| sizes(batch).map(move |images| Parts { images, recompute, halves });
    let plain = all(false).filter(|parts| parts.images >= FEW.min(batch));
    plain.chain(all(true)).collect()
}

/// The first of `ways` that takes at most `limit` bytes, and what it takes.
fn first_that_fits<T: Copy>(
    ways: impl IntoIterator<Item = T>,
    limit: u64,
    what: &str,
    bytes: impl Fn(T) -> Result<u64>,
) -> Result<(T, u64)> {
    let mut least = None;
    for way in ways {
        match bytes(way) {
            Ok(bytes) if bytes <= limit => return Ok((way, bytes)),
            Ok(bytes) => {
                least = Some(Error::Limit {
                    what: format!("{what}, in the smallest parts,"),
                    subject: "`memory_mib`, in bytes,".into(),
                    needed: bytes,
                    limit,
                    way_out: "give it more, or use a smaller backbone, image_size or buffer_size",
                });
            }
            // A tensor that no binding holds is smaller in smaller parts.
            Err(error @ Error::Limit { .. }) => least = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(least.unwrap_or_else(|| Error::Config(format!("`batch_size`: no images for {what}"))))
}

impl<P: Procedure> Min<P> {
    /// Takes batches in such parts that all tensors stay within `limit` bytes; `last` is shaped as the task with the most
    /// modules, classes and images.
    ///
    /// # Errors
    /// [`Error::Limit`] where not even the smallest parts do.
    pub(super) fn fit(&mut self, last: &Task, limit: u64) -> Result<Footprint> {
        let resident = self.core().device().stats().bytes_in_use;
        let batch = last.schedule.iter().map(Vec::len).max().unwrap_or(1);
        let (parts, training) =
            first_that_fits(ways(batch, self.core().parts.halves), limit, "a training step", |parts| {
                Ok(resident + self.training_bytes(last, parts)?)
            })?;
        let whole = self.core().fit_batch.min(last.samples.len().max(1));
        let (fit_batch, pass) = first_that_fits(sizes(whole), limit, "an analytic pass", |images| {
            Ok(resident + self.pass_bytes(last, images)?)
        })?;
        self.take_in(parts, (fit_batch < whole).then_some(fit_batch));
        let bytes = training.max(pass);
        Ok(Footprint { bytes, parts, fit_batch })
    }

    /// A copy with `modules`, on a device that plans as this one's.
    fn rehearsal(&self, last: &Task, modules: usize) -> Result<Core> {
        let (core, planner) = (self.core(), Device::planner(self.core().device().caps().clone()));
        let mut trial = Core::new(core.network.on(&planner), core.gamma, core.fit_batch, None)?;
        trial.weights = planner.zeros(&[last.classes, core.network.random.cols()])?;
        let noise = &mut trial.network.noise;
        while noise.modules < modules {
            let row = noise.layout.len();
            noise.add_module(|_| Ok(vec![0.0; row]))?;
        }
        if noise.modules > 0 {
            noise.set_mixture(&vec![0.0; noise.modules], false)?;
        }
        Ok(trial)
    }

    /// Bytes of a training step beside the statistics. The first task may train other parameters than the last.
    fn training_bytes(&self, last: &Task, parts: Parts) -> Result<u64> {
        let mut most = 0;
        for modules in [0, last.index] {
            let mut trial = self.rehearsal(last, modules)?;
            trial.parts = parts;
            let planner = trial.device().clone();
            let p = planner.reals(&[0, trial.network.random.cols()])?;
            let held = trial.statistics.occupy(&planner, &p, last.classes)?;
            trial.folded = fold::stand_in(&planner, &trial.network.noise)?;
            self.procedure().plan(&mut trial, last)?;
            drop(held);
            most = most.max(planner.stats().peak_bytes_in_use);
        }
        Ok(most)
    }

    /// Bytes of a pass with all modules, and of the solve.
    fn pass_bytes(&self, last: &Task, images: usize) -> Result<u64> {
        let mut trial = self.rehearsal(last, last.index + 1)?;
        let planner = trial.device().clone();
        trial.folded = fold::stand_in(&planner, &trial.network.noise)?;
        let prototype = planner.reals(&[trial.network.vit.architecture.sizes.dim])?;
        let images = last.samples.stand_in(&planner, images)?;
        let none = planner.reals(&[0, trial.network.random.cols()])?;
        let held = trial.statistics.occupy(&planner, &none, last.classes)?;
        let p = trial.pass_batch(&images, &prototype, 1.0, 0, true)?;
        drop(held);
        if let Some(p) = p {
            trial.statistics.occupy(&planner, &p, last.classes)?;
        }
        Ok(planner.stats().peak_bytes_in_use)
    }
}
