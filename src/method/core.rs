//! What both profiles share: the network, the additive statistics, the classifier, passes over data.

use crate::autograd::Tape;
use crate::config::Gamma;
use crate::device::{Device, Tensor};
use crate::method::pass::{Fit, Pass};
use crate::method::{Batch, Mixed, Moved, Observer, Phase, Samples, Solved, Task};
use crate::model::fold::{self, Folded};
use crate::model::head::{self, Statistics};
use crate::model::network::{Behind, Drawn, Network, sampled};
use crate::model::noise::Noise;
use crate::model::state::{put, upload as upload_from};
use crate::store::Tree;
use crate::{Error, Result};

/// The step of passes that sample noise outside training, clear of all training steps.
pub(super) const EVAL_STEP: u32 = 1 << 31;

/// Images by which changes of tokens are measured: a hundredth of what a task takes, or less.
const FEW: usize = 32;

/// Where in the state of a learner its statistics stand, which only those need who learn.
pub const STATISTICS: &str = "core/statistics";
/// Where in the state of a learner its classifier stands, [classes, m].
pub const CLASSIFIER: &str = "core/weights";

/// The state of a learner without noise that has this classifier W^T [C, m], and no statistics.
///
/// # Errors
/// Device errors.
pub async fn classifier_state(device: &Device, weights: &Tensor, solved: Solved) -> Result<Tree> {
    let mut tree = Tree::new();
    put(&mut tree, CLASSIFIER, device, weights).await?;
    tree.put("core/prototypes", &[0, 0], &[] as &[f64]);
    tree.set("core/network/modules", &0)?;
    tree.set("core/step", &0)?;
    tree.set("core/solved", &(solved.gamma, solved.residual))?;
    Ok(tree)
}

/// Parameters of a new module as one row of phi: (task, layer) -> `[P]`.
pub type Init = Box<dyn FnMut(usize, usize) -> Result<Vec<f64>>>;

/// How a training batch is taken where memory is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Images that are taken at once.
    pub images: usize,
    /// Whether the backward pass does each block once more, instead of keeping what is in it.
    pub recompute: bool,
    /// Whether what is kept is rounded to halves, which changes the result.
    pub halves: bool,
}

impl Default for Parts {
    fn default() -> Self {
        Self { images: usize::MAX, recompute: false, halves: false }
    }
}

/// State of a learner between tasks.
#[derive(Debug)]
pub struct Core {
    pub network: Network,
    pub statistics: Statistics,
    /// Ridge added to the Gram matrix.
    pub gamma: Gamma,
    /// W^T, [classes, m].
    pub weights: Tensor,
    /// Prototype of every task, the newest last.
    pub prototypes: Vec<Vec<f64>>,
    /// Training forward passes so far.
    pub step: u32,
    /// The last solve.
    pub solved: Option<Solved>,
    /// How far the noise of the last task moved features.
    pub moved: Option<Moved>,
    pub(super) folded: Vec<Folded>,
    pub(super) fit_batch: usize,
    /// How a training batch is taken.
    pub parts: Parts,
    /// Seed of eps where passes outside training sample it.
    pub(super) sample_seed: Option<u64>,
}

/// Results of a forward pass over test images.
#[derive(Debug)]
pub struct Scores {
    pub features: Tensor,
    /// [B, classes].
    pub logits: Tensor,
}

impl Core {
    /// # Errors
    /// [`Error::Config`] for a `fit_batch` of 0; allocation failures.
    pub fn new(network: Network, gamma: Gamma, fit_batch: usize, sample_seed: Option<u64>) -> Result<Self> {
        let device = network.device.clone();
        let m = network.m();
        if fit_batch == 0 {
            return Err(Error::Config("`fit_batch` must be at least 1, got 0".into()));
        }
        Ok(Self {
            statistics: Statistics::new(&device, m)?,
            gamma,
            weights: device.zeros(&[0, m])?,
            prototypes: Vec::new(),
            step: 0,
            solved: None,
            moved: None,
            folded: Vec::new(),
            fit_batch,
            parts: Parts::default(),
            sample_seed,
            network,
        })
    }

    pub fn device(&self) -> &Device {
        &self.network.device
    }

    /// What stands behind the blocks outside training, for images of a pass from image `first` on.
    pub(super) fn behind(&self, first: usize) -> Behind<'_> {
        match self.sample_seed {
            Some(seed) if self.network.noise.modules > 0 => {
                let first_row = (first * self.network.vit.architecture.tokens()) as u32;
                let drawn = Drawn { seed, step: EVAL_STEP, first_row };
                Behind::Layers { noise: sampled, drawn, recompute: false }
            }
            _ => Behind::Folded(&self.folded),
        }
    }

    /// Folds the layers as they are now.
    pub(super) async fn refold(&mut self, kind: Noise) -> Result<()> {
        self.folded = fold::fold(self.device(), &self.network.noise, kind).await?;
        Ok(())
    }

    /// Adds all samples to the statistics, with the network as it is.
    pub(crate) async fn fit(
        &mut self,
        samples: &Samples,
        what: &'static str,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let mut pass = Pass::new(self, what, Fit::New, None)?;
        while pass.step(self, samples, observer).await?.is_none() {}
        Ok(())
    }

    /// Adds the features of a batch, of a pass from image `first` on, times `scale`, to the prototype; gives the random
    /// features to a `fit`.
    pub(super) fn pass_batch(
        &self,
        images: &Tensor,
        prototype: &Tensor,
        scale: f64,
        first: usize,
        fit: bool,
    ) -> Result<Option<Tensor>> {
        let (floor, f) = self.network.anchored(images, self.behind(first))?;
        let p = if fit { Some(self.random_features(&f, floor.as_ref())?) } else { None };
        self.network.add_features(&f, scale, prototype)?;
        Ok(p)
    }

    /// Features [B, d1] of images of a pass from image `first` on.
    pub(super) fn features(&self, images: &Tensor, first: usize) -> Result<Tensor> {
        let mut tape = Tape::new(self.device(), []);
        Ok(self.network.features(&mut tape, images, self.behind(first))?.value().clone())
    }

    /// Random features [B, m] of features f [B, d1], beside those of the anchor, if there is one.
    pub(super) fn random_features(&self, f: &Tensor, floor: Option<&Tensor>) -> Result<Tensor> {
        let mut tape = Tape::new(self.device(), []);
        let f = tape.var(f);
        Ok(self.network.random_features(&mut tape, &f, floor)?.value().clone())
    }

    /// W^T times a number.
    pub(super) fn scaled_weights(&self, factor: f64) -> Result<Tensor> {
        if factor == 1.0 { Ok(self.weights.clone()) } else { head::scaled(self.device(), &self.weights, factor) }
    }

    /// Solves the statistics for the classifier.
    pub(super) async fn solve(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let gamma = match self.gamma {
            Gamma::Value(gamma) => gamma,
            Gamma::Auto => self.statistics.choose_gamma(self.solved.map(|s| s.gamma)).await?,
        };
        observer.begin(Phase::Analytic, &format!("solve, gamma {gamma}"), self.statistics.features());
        let solution = self.statistics.solve(self.device(), gamma, &mut |n| observer.advance(n)).await?;
        observer.end(Phase::Analytic, None);
        self.weights = solution.weights;
        self.solved = Some(Solved { gamma, residual: solution.residual });
        Ok(())
    }

    /// Features and logits of a batch of test images [B, C, H, W], of a pass from image `first` on.
    ///
    /// # Errors
    /// Device errors.
    pub fn scores(&self, images: &Tensor, first: usize) -> Result<Scores> {
        let (floor, features) = self.network.anchored(images, self.behind(first))?;
        let p = self.random_features(&features, floor.as_ref())?;
        Ok(Scores { features, logits: head::logits(self.device(), &p, &self.weights)? })
    }

    /// What the noise layers weigh, and by how much they change the tokens of a few images; nothing where there are none.
    ///
    /// # Errors
    /// Device errors, those of whoever brings the images.
    pub(super) async fn mixed(&self, images: &Samples) -> Result<Option<Mixed>> {
        let noise = &self.network.noise;
        if !noise.changes() {
            return Ok(None);
        }
        let mut mixture = Vec::new();
        for (j, _) in noise.adapted() {
            mixture.push(noise.omega(j).await?);
        }
        // Fewer than an evaluation takes at once, so that there is room for the changes beside the tokens.
        let n = FEW.min(images.len()).min(self.fit_batch.div_ceil(2));
        let spread = (0..n).map(|i| i * images.len() / n).collect();
        let mut changes = Vec::new();
        for pixels in images.stream(vec![Batch { images: spread, epoch: None }])? {
            let images = images.upload(self.device(), &pixels?, 0..n)?;
            changes = self.network.changes(&images, self.behind(0)).await?;
        }
        Ok(Some(Mixed { mixture, changes }))
    }

    /// All that was learned: the network, the statistics, the classifier, the prototypes.
    ///
    /// # Errors
    /// Device errors.
    pub(super) async fn state(&self) -> Result<Tree> {
        let (device, mut tree) = (self.device(), Tree::new());
        tree.graft("network", self.network.state().await?);
        tree.graft("statistics", self.statistics.state().await?);
        put(&mut tree, "weights", device, &self.weights).await?;
        let d1 = self.network.vit.architecture.sizes.dim;
        tree.put("prototypes", &[self.prototypes.len(), d1], &self.prototypes.concat());
        tree.set("step", &self.step)?;
        tree.set("solved", &self.solved.map(|s| (s.gamma, s.residual)))?;
        tree.set("moved", &self.moved.map(|m| (m.drift, m.explained)))?;
        Ok(tree)
    }

    /// What [`Core::state`] gave; without statistics there are none.
    ///
    /// # Errors
    /// [`Error::Store`] where it does not fit the settings; device errors.
    pub(super) async fn restore(&mut self, mut tree: Tree) -> Result<()> {
        let (device, m) = (self.device().clone(), self.network.m());
        self.network.restore(tree.prune("network"))?;
        let statistics = tree.prune("statistics");
        if !statistics.is_empty() {
            self.statistics.restore(&device, statistics).await?;
        }
        let &[classes, _] = tree.shape("weights")? else { return Err(tree.error("`weights` is no matrix")) };
        self.weights = upload_from(&mut tree, "weights", &device, &[classes, m])?;
        let d1 = self.network.vit.architecture.sizes.dim;
        let (shape, prototypes) = tree.take::<f64>("prototypes")?;
        if !prototypes.is_empty() && (shape.len() != 2 || shape[1] != d1) {
            return Err(tree.error(format!("`prototypes` has shape {shape:?}, rows of {d1} are needed")));
        }
        self.prototypes = prototypes.chunks(d1).map(<[f64]>::to_vec).collect();
        self.step = tree.get("step")?;
        self.solved = tree.get::<Option<(f64, f64)>>("solved")?.map(|(gamma, residual)| Solved { gamma, residual });
        let moved = tree.find::<Option<(f64, Option<f64>)>>("moved")?.flatten();
        self.moved = moved.map(|(drift, explained)| Moved { drift, explained });
        tree.finish()
    }
}

/// Cosine similarity of two vectors.
pub(super) fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
}

impl Core {
    /// Plans an analytic pass and an evaluation, with folded layers and without, to compile them ahead.
    pub(super) fn plan(&mut self, task: &Task) -> Result<()> {
        let device = &self.device().clone();
        let prototype = device.reals(&[self.network.vit.architecture.sizes.dim])?;
        self.folded.clear();
        for trial in 0..2 {
            let n = task.samples.len();
            let mut sizes = vec![n.min(self.fit_batch), n % self.fit_batch];
            sizes.retain(|&n| n > 0);
            for size in sizes {
                let images = task.samples.stand_in(device, size)?;
                if let Some(p) = self.pass_batch(&images, &prototype, 1.0, 0, true)? {
                    self.statistics.plan(device, &p, self.weights.rows())?;
                }
                head::predicted(device, &self.scores(&images, 0)?.logits)?;
            }
            if trial == 0 {
                self.folded = fold::stand_in(device, &self.network.noise)?;
            }
        }
        Ok(())
    }
}
