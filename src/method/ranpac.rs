//! RanPAC (RIVALS section 3): a ridge classifier on many random features, whose ridge every task chooses anew by a fifth of its
//! images. With adapters it stands on those of [`Aper`](crate::method::aper::Aper).
//!
//! Source: arXiv 2307.02251; github.com/RanPAC/RanPAC, `RanPAC.py`. Differs: the loss of a ridge is found in float64, in the
//! dual where fewer images are fitted than there are features; the authors' is noise in single precision for small ridges. A
//! ridge for which the equations are too ill-conditioned gives way to the next larger one.

use crate::device::{Device, Tensor};
use crate::method::frozen::{Head, Seen};
use crate::method::ridge::Ridge;
use crate::method::{Observer, Point, Solved, Task};
use crate::model::head::random::rectified;
use crate::model::head::{HeldOut, Statistics};
use crate::store::Tree;
use crate::{Error, Result};

/// Powers of ten among which the ridge is chosen.
const EXPONENTS: std::ops::RangeInclusive<i32> = -8..=8;

#[derive(Debug)]
pub(crate) struct RanPac {
    ridge: Ridge,
}

/// The nearest floats to the powers of ten.
fn lambdas() -> Vec<f64> {
    EXPONENTS.map(|k| format!("1e{k}").parse().unwrap_or(f64::NAN)).collect()
}

impl RanPac {
    /// With the projection R [d, m].
    ///
    /// # Errors
    /// Allocation failures.
    pub fn new(device: &Device, projection: &[f64], m: usize) -> Result<Self> {
        Ok(Self { ridge: Ridge::new(device, projection, m)? })
    }

    /// G and Q.
    pub fn statistics(&self) -> &Statistics {
        &self.ridge.statistics
    }

    /// W^T [C, m].
    pub fn weights(&self) -> &Tensor {
        &self.ridge.weights
    }

    /// The ridge of least loss on the last fifth of the images in the order of the schedule, when it is fitted to the others
    /// of this task alone; of equals the smallest.
    async fn choose(&self, device: &Device, seen: &Seen<'_>, observer: &mut dyn Observer) -> Result<f64> {
        let (order, n) = (seen.task.schedule.concat(), seen.labels().len());
        if order.len() != n {
            return Err(Error::shape("ranpac", "schedule", [n], [order.len()]));
        }
        let classes = seen.classes();
        let mut held_out = HeldOut::new(self.ridge.random.cols(), classes.len(), n)?;
        for images in order.chunks(seen.fit_batch()) {
            let (f, labels) = seen.upload(device, images)?;
            let h: Vec<f64> = device.read(&rectified(device, &f, &self.ridge.random)?).await?;
            let labels: Vec<u32> = labels.iter().map(|y| y - classes.start as u32).collect();
            held_out.add(&h, &labels)?;
        }
        let lambdas = lambdas();
        let losses = held_out.losses(&lambdas)?;
        observer.inspect(Point::RidgeLosses(&losses))?;
        let known = lambdas.into_iter().zip(losses).filter(|(_, loss)| loss.is_finite());
        let best = known.reduce(|best, next| if next.1 < best.1 { next } else { best });
        best.map(|(lambda, _)| lambda).ok_or_else(|| Error::Unsupported("no ridge can be solved for".into()))
    }

    /// With the ridge that was chosen, or the next larger one that the device's precision can solve for: where all losses
    /// are equal, as with few images of two classes, the choice is the smallest.
    async fn solve(&mut self, device: &Device, chosen: f64) -> Result<()> {
        let mut outcome = Ok(());
        for lambda in lambdas().into_iter().filter(|&lambda| lambda >= chosen) {
            outcome = self.ridge.solve(device, lambda).await;
            if !matches!(outcome, Err(Error::IllConditioned { .. } | Error::NotPositiveDefinite { .. })) {
                break;
            }
        }
        outcome
    }
}

impl Head for RanPac {
    const WHAT: &'static str = "statistics, choice of the ridge";
    const EPOCHS: usize = 1;

    fn begin(&mut self, task: &Task) -> Result<()> {
        self.ridge.statistics.widen(task.classes)
    }

    /// All images, and the solve.
    fn total(&self, seen: &Seen<'_>) -> usize {
        seen.labels().len() + 1
    }

    async fn learn(
        &mut self,
        device: &Device,
        seen: &Seen<'_>,
        done: usize,
        observer: &mut dyn Observer,
    ) -> Result<usize> {
        match seen.batch(done) {
            Some(images) => {
                self.ridge.add(device, seen, &images).await?;
                Ok(done + images.len())
            }
            None => {
                let lambda = self.choose(device, seen, observer).await?;
                self.solve(device, lambda).await?;
                Ok(done + 1)
            }
        }
    }

    fn scores(&self, device: &Device, f: &Tensor) -> Result<Tensor> {
        self.ridge.scores(device, f)
    }

    fn solved(&self) -> Option<Solved> {
        self.ridge.solved
    }

    fn random(&self) -> Option<&Tensor> {
        Some(&self.ridge.random)
    }

    async fn state(&self, device: &Device) -> Result<Tree> {
        self.ridge.state(device).await
    }

    async fn restore(&mut self, device: &Device, tree: Tree) -> Result<()> {
        self.ridge.restore(device, tree).await
    }

    fn rehearsal(&self, planner: &Device, classes: usize) -> Result<Self> {
        Ok(Self { ridge: self.ridge.rehearsal(planner, classes)? })
    }

    fn plan(&self, device: &Device, f: &Tensor, classes: usize) -> Result<()> {
        self.ridge.plan(device, f, classes)
    }

    fn occupy(&self, planner: &Device, f: &Tensor, classes: usize) -> Result<Vec<Tensor>> {
        self.ridge.occupy(planner, f, classes)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn ridges_are_powers_of_ten() {
        let all = super::lambdas();
        assert_eq!((all.len(), all[0], all[8], all[9], all[16]), (17, 1e-8, 1.0, 10.0, 1e8));
    }
}
