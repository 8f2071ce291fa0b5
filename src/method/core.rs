//! What both profiles share: the network, the additive statistics, the classifier, passes over data.

use crate::autograd::Tape;
use crate::config::Gamma;
use crate::device::{Device, Tensor};
use crate::method::{Observer, Phase, Samples};
use crate::model::fold::{Folded, fold};
use crate::model::head::{self, Statistics};
use crate::model::network::{Behind, Drawn, Network, sampled};
use crate::model::noise::Noise;
use crate::{Error, Result};

/// Steps of passes that sample noise outside training start here, clear of all training steps.
const EVAL_STEP: u32 = 1 << 31;

/// Parameters of a new module as one row of phi: (task, layer) -> `[P]`.
pub type Init = Box<dyn FnMut(usize, usize) -> Result<Vec<f64>>>;

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
    pub(super) folded: Vec<Folded>,
    pub(super) fit_batch: usize,
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
        let m = network.random.cols();
        if fit_batch == 0 {
            return Err(Error::Config("`fit_batch` must be at least 1, got 0".into()));
        }
        Ok(Self {
            statistics: Statistics::new(&device, m)?,
            gamma,
            weights: device.zeros(&[0, m])?,
            prototypes: Vec::new(),
            step: 0,
            folded: Vec::new(),
            fit_batch,
            sample_seed,
            network,
        })
    }

    pub fn device(&self) -> &Device {
        &self.network.device
    }

    /// A batch of samples on the device.
    pub(super) fn images(&self, samples: &Samples, pixels: &[f32]) -> Result<Tensor> {
        let [c, h, w] = samples.shape();
        self.device().upload(pixels, &[pixels.len() / (c * h * w), c, h, w])
    }

    /// What stands behind the blocks outside training.
    pub(super) fn behind(&self, batch: usize) -> Behind<'_> {
        match self.sample_seed {
            Some(seed) if self.network.noise.modules > 0 => {
                let drawn = Drawn { seed, step: EVAL_STEP + batch as u32 };
                Behind::Layers { noise: sampled, drawn }
            }
            _ => Behind::Folded(&self.folded),
        }
    }

    /// Folds the layers as they are now.
    pub(super) async fn refold(&mut self, kind: Noise) -> Result<()> {
        self.folded = fold(self.device(), &self.network.noise, kind).await?;
        Ok(())
    }

    /// One pass over `samples` with the network as it is: returns the prototype, the mean feature, and adds to the
    /// statistics if it is a `fit`. The images are plain, or changed at random as in pass `epoch`.
    pub(crate) async fn pass(
        &mut self,
        samples: &Samples,
        epoch: Option<u32>,
        fit: bool,
        what: &str,
        observer: &mut dyn Observer,
    ) -> Result<Vec<f64>> {
        let device = self.device().clone();
        let prototype = device.zeros(&[self.network.vit.architecture.sizes.dim])?;
        observer.begin(Phase::Analytic, what, samples.len());
        for (i, (idx, pixels)) in samples.in_order(self.fit_batch, epoch)?.enumerate() {
            let images = self.images(samples, &pixels?)?;
            let p = self.pass_batch(&images, &prototype, 1.0 / samples.len() as f64, i, fit)?;
            device.flush()?;
            if let Some(p) = p {
                let labels: Vec<u32> = idx.iter().map(|&i| samples.labels[i]).collect();
                self.statistics.add(&device, &p, &labels).await?;
            }
            observer.advance(idx.len());
        }
        let prototype: Vec<f64> = device.read(&prototype).await?;
        observer.end(Phase::Analytic, None);
        // ReLU would turn NaN into 0 and hide a divergence behind a classifier that always answers the same.
        if prototype.iter().any(|x| !x.is_finite()) {
            return Err(Error::Unsupported("the features are not finite: lower lr, or check the weights".into()));
        }
        Ok(prototype)
    }

    /// Adds the features of a batch, times `scale`, to the prototype; gives the random features to a `fit`.
    fn pass_batch(
        &self,
        images: &Tensor,
        prototype: &Tensor,
        scale: f64,
        batch: usize,
        fit: bool,
    ) -> Result<Option<Tensor>> {
        let mut tape = Tape::new(self.device(), []);
        let f = self.network.features(&mut tape, images, self.behind(batch))?;
        let p = if fit { Some(self.network.random_features(&mut tape, &f)?.value().clone()) } else { None };
        self.network.add_features(f.value(), scale, prototype)?;
        Ok(p)
    }

    /// Solves the statistics for the classifier.
    pub(super) async fn solve(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let gamma = match self.gamma {
            Gamma::Value(gamma) => gamma,
            Gamma::Auto => self.statistics.choose_gamma().await?,
        };
        observer.begin(Phase::Analytic, &format!("solve, gamma {gamma}"), self.statistics.features());
        let solution = self.statistics.solve(self.device(), gamma, &mut |n| observer.advance(n)).await?;
        observer.end(Phase::Analytic, None);
        self.weights = solution.weights;
        Ok(())
    }

    /// Features and logits of a batch of test images [B, C, H, W].
    ///
    /// # Errors
    /// Device errors.
    pub fn scores(&self, images: &Tensor, batch: usize) -> Result<Scores> {
        let mut tape = Tape::new(self.device(), []);
        let f = self.network.features(&mut tape, images, self.behind(batch))?;
        let p = self.network.random_features(&mut tape, &f)?;
        let logits = head::logits(self.device(), p.value(), &self.weights)?;
        Ok(Scores { features: f.value().clone(), logits })
    }

    /// Predicted classes: argmax over the classes seen.
    ///
    /// # Errors
    /// Device errors.
    pub async fn predict(&self, samples: &Samples) -> Result<Vec<u32>> {
        let device = self.device();
        let mut pending = Vec::new();
        for (i, (_, pixels)) in samples.in_order(self.fit_batch, None)?.enumerate() {
            let images = self.images(samples, &pixels?)?;
            pending.push(head::predicted(device, &self.scores(&images, i)?.logits)?);
        }
        let mut classes = Vec::with_capacity(samples.len());
        for out in pending {
            classes.extend(device.read_u32(&out).await?);
        }
        Ok(classes)
    }
}

/// Cosine similarity of two vectors.
pub(super) fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
}

impl Core {
    /// Plans an analytic pass and an evaluation, with folded layers and without (for [`Device::prewarm`]).
    pub(super) fn plan(&mut self, task: &crate::method::Task<'_>, device: &Device, kind: Noise) -> Result<()> {
        let prototype = device.zeros(&[self.network.vit.architecture.sizes.dim])?;
        for trial in 0..2 {
            let n = task.samples.len();
            let mut sizes = vec![n.min(self.fit_batch), n % self.fit_batch];
            sizes.retain(|&n| n > 0);
            for size in sizes {
                let [c, h, w] = task.samples.shape();
                let images = device.zeros(&[size, c, h, w])?;
                if let Some(p) = self.pass_batch(&images, &prototype, 1.0, 0, true)? {
                    self.statistics.plan(device, &p)?;
                }
                head::predicted(device, &self.scores(&images, 0)?.logits)?;
            }
            if trial == 0 && self.network.noise.modules > 0 {
                // Where nobody can wait, these pipelines are compiled when they are first needed.
                crate::host::block_on(self.refold(kind)).unwrap_or(Ok(()))?;
            }
        }
        Ok(())
    }
}
