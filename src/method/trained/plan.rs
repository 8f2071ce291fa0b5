//! What learning takes of a device, rehearsed on one that only plans.

use std::ops::Range;

use super::{Pupil, Trained};
use crate::Result;
use crate::device::{Captured, DType, Device};
use crate::method::frozen::features;
use crate::method::{Extent, Task};
use crate::model::head::predicted;

impl<P: Pupil> Trained<P> {
    /// The same as it is when it has begun a task, on a device that only plans.
    fn rehearsal(&self, planner: &Device, task: &Task) -> Result<Self> {
        let vit = self.vit.on(planner);
        let pupil = self.pupil.rehearsal(&vit, task)?;
        let &Self { fit_batch, augmented, parts, .. } = self;
        Ok(Self { vit, pupil, fit_batch, augmented, parts, step: 0, active: None })
    }

    /// Plans a training step on a batch of each of these sizes.
    fn plan_training(&self, task: &Task, batches: &[usize]) -> Result<()> {
        let device = self.vit.device();
        let mut run = self.run(task)?;
        let give = |range: Range<usize>| {
            let images = task.samples.stand_in(device, range.len())?;
            let queries = if P::QUERIES { Some(features(&self.vit, &images)?) } else { None };
            Ok((images, device.empty(&[range.len()], DType::U32)?, queries))
        };
        for &batch in batches {
            let (gradients, _) = self.gradients(task, &run.parameters, batch, give, (&run.loss, 0))?;
            run.optimizer.step(&gradients, 1.0)?;
        }
        Ok(())
    }

    /// Bytes of a training step that takes so many images at once, in the first task or the last.
    pub(super) fn training_bytes(&self, extent: &Extent, images: usize) -> Result<u64> {
        let last = extent.task();
        let first = Task { index: 0, first_class: 0, classes: extent.task_classes, ..last.clone() };
        let mut most = 0;
        for task in [first, last] {
            if self.pupil.epochs(task.index) > 0 {
                let planner = self.vit.device().as_planner();
                let mut trial = self.rehearsal(&planner, &task)?;
                trial.parts.images = images;
                trial.plan_training(&task, &[extent.batch])?;
                most = most.max(planner.stats().peak_bytes_in_use);
            }
        }
        Ok(most)
    }

    /// Bytes of a pass, of learning from it, and of an evaluation.
    pub(super) fn pass_bytes(&self, extent: &Extent, images: usize) -> Result<u64> {
        let planner = self.vit.device().as_planner();
        let trial = self.rehearsal(&planner, &extent.task())?;
        let width = trial.pupil.width(self.vit.architecture.sizes.dim);
        let held = trial.pupil.occupy(&planner, &planner.reals(&[0, width])?, extent.classes)?;
        let seen = extent.samples.stand_in(&planner, images)?;
        if P::LOOKS {
            trial.pupil.features(&trial.vit, &seen)?;
        }
        // The scores of a batch wait while the next ones are computed.
        let waiting = planner.reals(&[images, extent.classes])?;
        predicted(&planner, &trial.pupil.scores(&trial.vit, &seen)?)?;
        drop((seen, held, waiting));
        trial.pupil.occupy(&planner, &planner.reals(&[images, width])?, extent.classes)?;
        Ok(planner.stats().peak_bytes_in_use)
    }

    /// What training steps, a pass, learning from it and an evaluation on batches of the task's sizes dispatch.
    pub(super) fn rehearsed(&self, task: &Task) -> Result<Vec<Captured>> {
        let planner = self.vit.device().as_planner();
        let (trial, n) = (self.rehearsal(&planner, task)?, task.samples.len());
        let mut batches: Vec<usize> = task.schedule.iter().map(Vec::len).collect();
        batches.sort_unstable();
        batches.dedup();
        let mut passes = vec![n.min(self.fit_batch), n % self.fit_batch];
        passes.retain(|&size| size > 0);
        planner.capture(|| {
            if self.pupil.epochs(task.index) > 0 {
                trial.plan_training(task, &batches)?;
            }
            passes.iter().try_for_each(|&size| {
                let images = task.samples.stand_in(&planner, size)?;
                if P::LOOKS {
                    trial.pupil.plan(&planner, &trial.pupil.features(&trial.vit, &images)?, task.classes)?;
                }
                predicted(&planner, &trial.pupil.scores(&trial.vit, &images)?).map(drop)
            })
        })
    }
}
