//! Images of a data set as a method takes them: in the backbone's size and channels, normalised, with new labels.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::Config;
use crate::data::{self, Budget, Images, Loader, View};
use crate::method::{Batch, Pixels, Raw, Samples, Stream};
use crate::model::architecture::{Architecture, Normalisation};
use crate::{Error, Result};

/// Loads the images of a run.
#[derive(Debug)]
pub(super) struct Feed {
    view: View,
    seed: u64,
    augment: bool,
    budget: Arc<Budget>,
    waited: Arc<AtomicU64>,
    normalised: Arc<[[f32; 256]]>,
    normalisation: Normalisation,
}

impl Feed {
    /// # Errors
    /// [`Error::Config`] where the backbone takes images that cannot be had.
    pub fn new(config: &Config, architecture: &Architecture) -> Result<Self> {
        let (settings, vit) = (&config.images, architecture.sizes);
        if ![1, 3].contains(&vit.channels) {
            let message =
                format!("`weights` = {} wants images of {} channels, 1 or 3 can be had", config.weights, vit.channels);
            return Err(Error::Config(message));
        }
        Ok(Self {
            view: View::new(settings, vit.channels, vit.image),
            seed: config.seed,
            augment: settings.augment,
            budget: Budget::new(settings.image_cache_mib << 20),
            waited: Arc::default(),
            normalisation: architecture.normalisation.clone(),
            normalised: (0..vit.channels).map(|c| architecture.normalisation.of_bytes(c)).collect(),
        })
    }

    /// How images are seen where they are not changed at random.
    pub fn described(&self) -> String {
        let Normalisation { mean, std } = &self.normalisation;
        format!("{}, mean {mean:?}, std {std:?}", self.view)
    }

    /// Images to learn from.
    pub fn training(&self, images: Images) -> Arc<Loader> {
        self.loader(images, self.augment)
    }

    /// Images that are never changed.
    pub fn plain(&self, images: Images) -> Arc<Loader> {
        self.loader(images, false)
    }

    fn loader(&self, images: Images, augmented: bool) -> Arc<Loader> {
        let loader = Loader::new(images, self.view, self.seed, augmented, &self.budget);
        Arc::new(loader.with_clock(self.waited.clone()))
    }

    /// The images `idx` of a loader.
    pub fn samples(&self, loader: &Arc<Loader>, idx: Vec<usize>, new_label: impl Fn(u32) -> u32) -> Samples {
        let labels = idx.iter().map(|&i| new_label(loader.images().labels[i])).collect();
        let (loader, normalised) = (loader.clone(), self.normalised.clone());
        Samples::new(Arc::new(Chosen { loader, idx, normalised }), labels)
    }

    /// How long the run has waited for images.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.load(Ordering::Relaxed))
    }
}

/// Some images of a loader.
#[derive(Debug)]
struct Chosen {
    loader: Arc<Loader>,
    idx: Vec<usize>,
    /// What becomes of a byte in each channel.
    normalised: Arc<[[f32; 256]]>,
}

impl Pixels for Chosen {
    fn shape(&self) -> [usize; 3] {
        self.loader.shape()
    }

    fn table(&self) -> &[[f32; 256]] {
        &self.normalised
    }

    fn stream(self: Arc<Self>, batches: Vec<Batch>) -> Result<Stream> {
        let batch = |Batch { images, epoch }: Batch| data::Batch {
            images: images.into_iter().map(|i| self.idx[i]).collect(),
            epoch,
        };
        let stream = self.loader.stream(batches.into_iter().map(batch).collect())?;
        Ok(Box::new(stream.map(|pixels| pixels.map(Raw::Bytes))))
    }
}
