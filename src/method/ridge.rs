//! A ridge classifier on random features of a frozen backbone: what ACIL and RanPAC have in common.

use crate::Result;
use crate::device::{Device, Tensor};
use crate::method::Solved;
use crate::method::frozen::Seen;
use crate::model::head::random::rectified;
use crate::model::head::{self, Statistics};
use crate::model::state::{put, upload};
use crate::store::Tree;

/// `h = relu(f R)`, the statistics `G = sum h^T h` and `Q = sum h^T onehot(y)`, and `W = (G + lambda I)^-1 Q`.
#[derive(Debug)]
pub(crate) struct Ridge {
    /// R [d, m].
    pub random: Tensor,
    pub statistics: Statistics,
    /// W^T [C, m].
    pub weights: Tensor,
    pub solved: Option<Solved>,
}

impl Ridge {
    /// With R [d, m] as its rows.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn new(device: &Device, random: &[f64], m: usize) -> Result<Self> {
        Ok(Self {
            random: device.upload(random, &[random.len() / m, m])?,
            statistics: Statistics::new(device, m)?,
            weights: device.zeros(&[0, m])?,
            solved: None,
        })
    }

    /// Adds some images of a task to the statistics.
    ///
    /// # Errors
    /// Device errors.
    pub async fn add(&mut self, device: &Device, seen: &Seen<'_>, images: &[usize]) -> Result<()> {
        let (f, labels) = seen.upload(device, images)?;
        self.statistics.add(device, &rectified(device, &f, &self.random)?, &labels).await
    }

    /// # Errors
    /// [`crate::Error::NotPositiveDefinite`] and [`crate::Error::IllConditioned`], device errors.
    pub async fn solve(&mut self, device: &Device, lambda: f64) -> Result<()> {
        let solution = self.statistics.solve(device, lambda, &mut |_| ()).await?;
        self.weights = solution.weights;
        self.solved = Some(Solved { gamma: lambda, residual: solution.residual });
        Ok(())
    }

    /// `h W` [B, C].
    ///
    /// # Errors
    /// Device errors.
    pub fn scores(&self, device: &Device, f: &Tensor) -> Result<Tensor> {
        head::logits(device, &rectified(device, f, &self.random)?, &self.weights)
    }

    /// See [`Head::state`](crate::method::frozen::Head::state).
    ///
    /// # Errors
    /// Device errors.
    pub async fn state(&self, device: &Device) -> Result<Tree> {
        let mut tree = Tree::new();
        put(&mut tree, "classifier", device, &self.weights).await?;
        tree.graft("statistics", self.statistics.state().await?);
        tree.set("solved", &self.solved.map(|s| (s.gamma, s.residual)))?;
        Ok(tree)
    }

    /// See [`Head::restore`](crate::method::frozen::Head::restore).
    ///
    /// # Errors
    /// [`crate::Error::Store`] where it does not fit; device errors.
    pub async fn restore(&mut self, device: &Device, mut tree: Tree) -> Result<()> {
        let statistics = tree.prune("statistics");
        if !statistics.is_empty() {
            self.statistics.restore(device, statistics).await?;
        }
        let classes = tree.shape("classifier")?.first().copied().unwrap_or(0);
        self.weights = upload(&mut tree, "classifier", device, &[classes, self.random.cols()])?;
        self.solved = tree.get::<Option<(f64, f64)>>("solved")?.map(|(gamma, residual)| Solved { gamma, residual });
        tree.finish()
    }

    /// See [`Head::rehearsal`](crate::method::frozen::Head::rehearsal).
    ///
    /// # Errors
    /// Those of plans.
    pub fn rehearsal(&self, planner: &Device, classes: usize) -> Result<Self> {
        Ok(Self {
            random: self.random.clone(),
            // Only their kind counts.
            statistics: Statistics::new(planner, 1)?,
            weights: planner.reals(&[classes, self.random.cols()])?,
            solved: None,
        })
    }

    /// See [`Head::plan`](crate::method::frozen::Head::plan).
    ///
    /// # Errors
    /// Those of plans.
    pub fn plan(&self, device: &Device, f: &Tensor, classes: usize) -> Result<()> {
        self.statistics.plan(device, &rectified(device, f, &self.random)?, classes)
    }

    /// See [`Head::occupy`](crate::method::frozen::Head::occupy).
    ///
    /// # Errors
    /// Those of plans.
    pub fn occupy(&self, planner: &Device, f: &Tensor, classes: usize) -> Result<Vec<Tensor>> {
        let h = match f.rows() {
            0 => planner.reals(&[0, self.random.cols()])?,
            _ => rectified(planner, f, &self.random)?,
        };
        self.statistics.occupy(planner, &h, classes)
    }
}
