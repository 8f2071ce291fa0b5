//! A learner by MiN, taken apart to be explained.

use crate::Result;
use crate::autograd::Tape;
use crate::device::{Device, Tensor};
use crate::method::Core;
use crate::method::core::EVAL_STEP;
use crate::model::explain::Explained;
use crate::model::head;
use crate::model::network::{Behind, Drawn, Network, mean, plain, sampled};
use crate::model::noise::Noise;

/// What was learned, to be looked at with the noise of some tasks alone.
#[derive(Clone, Copy, Debug)]
pub struct Dissected<'a> {
    core: &'a Core,
    /// How the noise is seen where it is not sampled.
    noise: Noise,
}

impl<'a> Dissected<'a> {
    pub(super) fn new(core: &'a Core, noise: Noise) -> Self {
        Self { core, noise }
    }

    pub fn device(&self) -> &'a Device {
        self.core.device()
    }

    /// Tasks whose noise there is.
    pub fn tasks(&self) -> usize {
        self.core.network.noise.modules
    }

    /// The mean feature of the images of every task, where they were kept.
    pub fn prototypes(&self) -> &'a [Vec<f64>] {
        &self.core.prototypes
    }

    /// Random features, m.
    pub fn m(&self) -> usize {
        self.core.network.m()
    }

    /// The network with the noise of no task but those to be `kept`; branches and norms that were trained stay.
    ///
    /// # Errors
    /// Device errors.
    pub async fn keeping(&self, kept: impl Fn(usize) -> bool) -> Result<Network> {
        Ok(Network { noise: self.core.network.noise.keeping(kept).await?, ..self.core.network.clone() })
    }

    /// Features [1, d1] of the anchor for an image, if there is one.
    ///
    /// # Errors
    /// Device errors.
    pub fn floor(&self, image: &Tensor) -> Result<Option<Tensor>> {
        self.core.network.anchor.as_ref().map(|_| self.core.network.floor(image)).transpose()
    }

    /// The layers behind the blocks, for the first image of a pass.
    fn behind(&self) -> Behind<'static> {
        let noise = match (self.core.sample_seed, self.noise) {
            (Some(_), _) => sampled,
            (None, Noise::Plain) => plain,
            (None, _) => mean,
        };
        let drawn = Drawn { seed: self.core.sample_seed.unwrap_or_default(), step: EVAL_STEP, first_row: 0 };
        Behind::Layers { noise, drawn, recompute: false }
    }

    /// What `network` and the classifier make of an image [1, C, H, W]: see [`crate::model::explain::explain`]. `floor` is that
    /// of [`Dissected::floor`].
    ///
    /// # Errors
    /// Device errors.
    pub async fn explain(
        &self,
        network: &Network,
        image: &Tensor,
        floor: Option<&Tensor>,
        class: Option<usize>,
    ) -> Result<Explained> {
        network.explain(image, self.behind(), floor, &self.core.weights, class).await
    }

    /// Random features p [1, m] of features [1, d1].
    ///
    /// # Errors
    /// Device errors.
    pub fn random_features(&self, features: &Tensor, floor: Option<&Tensor>) -> Result<Tensor> {
        self.core.random_features(features, floor)
    }

    /// The scores [1, classes] of `network` alone.
    ///
    /// # Errors
    /// Device errors.
    pub fn scores(&self, network: &Network, image: &Tensor, floor: Option<&Tensor>) -> Result<Tensor> {
        let features = network.features(&mut Tape::new(self.device(), []), image, self.behind())?;
        head::logits(self.device(), &self.random_features(features.value(), floor)?, &self.core.weights)
    }
}
