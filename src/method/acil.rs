//! ACIL (RIVALS section 5): the analytic classifier on random features of a backbone that is frozen at once.
//!
//! Source: NeurIPS 2022, arXiv 2205.14922; github.com/ZHUANGHP/Analytic-continual-learning, `analytic/`. Differs: the authors
//! train the network on the first task before they freeze it, and update `R = G^-1` and W recursively, which gives the same W.

use crate::Result;
use crate::device::{Device, Tensor};
use crate::method::frozen::{Head, Seen};
use crate::method::ridge::Ridge;
use crate::method::{Observer, Solved, Task};
use crate::store::Tree;

#[derive(Debug)]
pub(crate) struct Acil {
    ridge: Ridge,
    gamma: f64,
}

impl Acil {
    /// With the buffer B [d, m].
    ///
    /// # Errors
    /// Allocation failures.
    pub fn new(device: &Device, buffer: &[f64], m: usize, gamma: f64) -> Result<Self> {
        Ok(Self { ridge: Ridge::new(device, buffer, m)?, gamma })
    }

    /// W^T [C, m].
    pub fn weights(&self) -> &Tensor {
        &self.ridge.weights
    }
}

impl Head for Acil {
    const WHAT: &'static str = "analytic fit";

    fn begin(&mut self, task: &Task) -> Result<()> {
        self.ridge.statistics.widen(task.classes)
    }

    /// All images, and the solve.
    fn total(&self, seen: &Seen<'_>) -> usize {
        seen.labels().len() + 1
    }

    async fn learn(&mut self, device: &Device, seen: &Seen<'_>, done: usize, _: &mut dyn Observer) -> Result<usize> {
        match seen.batch(done) {
            Some(images) => {
                self.ridge.add(device, seen, &images).await?;
                Ok(done + images.len())
            }
            None => {
                self.ridge.solve(device, self.gamma).await?;
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
        Ok(Self { ridge: self.ridge.rehearsal(planner, classes)?, gamma: self.gamma })
    }

    fn plan(&self, device: &Device, f: &Tensor, classes: usize) -> Result<()> {
        self.ridge.plan(device, f, classes)
    }

    fn occupy(&self, planner: &Device, f: &Tensor, classes: usize) -> Result<Vec<Tensor>> {
        self.ridge.occupy(planner, f, classes)
    }
}
