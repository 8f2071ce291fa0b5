//! One pass over the images of a task with the network as it is.

use crate::device::Tensor;
use crate::method::{Core, Observer, Phase, Samples, Stream, check_finite};
use crate::model::state::{overwrite, put};
use crate::store::Tree;
use crate::{Error, Result};

/// What a pass adds to the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    No,
    /// Samples that are new to the statistics.
    New,
    /// Samples that are in them already.
    Again,
}

/// A pass that steps batch by batch. What comes of it is the prototype, the mean feature.
pub(crate) struct Pass {
    what: &'static str,
    fit: Fit,
    /// The images are changed at random as in this pass; plain where there is none.
    epoch: Option<u32>,
    /// Images done, so that a pass can go on with batches of another size.
    done: usize,
    /// Sum of the features so far, over the number of samples.
    prototype: Tensor,
    stream: Option<Stream>,
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pass").field("what", &self.what).field("done", &self.done).finish_non_exhaustive()
    }
}

impl Pass {
    /// # Errors
    /// Allocation failures.
    pub fn new(core: &Core, what: &'static str, fit: Fit, epoch: Option<u32>) -> Result<Self> {
        let prototype = core.device().zeros(&[core.network.vit.architecture.sizes.dim])?;
        Ok(Self { what, fit, epoch, done: 0, prototype, stream: None })
    }

    /// One batch; the prototype after the last.
    ///
    /// # Errors
    /// [`Error::Diverged`] where features are not finite; device errors, those of whoever brings the images.
    pub async fn step(
        &mut self,
        core: &mut Core,
        samples: &Samples,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<f64>>> {
        let (device, n, size) = (core.device().clone(), samples.len(), core.fit_batch);
        if self.stream.is_none() {
            observer.begin(Phase::Analytic, self.what, n);
            observer.advance(self.done);
            self.stream = Some(samples.stream(samples.batches(self.done..n, size, self.epoch))?);
        }
        let loading = device.phase("images");
        let pixels = self.stream.as_mut().and_then(Iterator::next);
        let pixels = pixels.ok_or_else(|| Error::Unsupported("the samples end before the pass".into()))??;
        let range = self.done..n.min(self.done + size);
        let images = samples.upload(&device, &pixels, 0..range.len())?;
        drop(loading);
        let (fit, forward) = (self.fit != Fit::No, device.phase("forward"));
        let p = core.pass_batch(&images, &self.prototype, 1.0 / n as f64, self.done, fit)?;
        device.flush()?;
        drop(forward);
        observer.advance(range.len());
        if let Some(p) = p {
            let labels = &samples.labels[range.clone()];
            match self.fit {
                Fit::Again => core.statistics.add_again(&device, &p, labels).await?,
                _ => core.statistics.add(&device, &p, labels).await?,
            }
        }
        self.done = range.end;
        if self.done < n {
            return Ok(None);
        }
        let prototype: Vec<f64> = device.read(&self.prototype).await?;
        observer.end(Phase::Analytic, None);
        // ReLU would turn NaN into 0 and hide a divergence behind a classifier that always answers the same.
        check_finite("the features", &prototype, "lr")?;
        Ok(Some(prototype))
    }

    /// How far it is.
    ///
    /// # Errors
    /// Device errors.
    pub async fn state(&self, core: &Core) -> Result<Tree> {
        let mut tree = Tree::new();
        tree.set("done", &self.done)?;
        put(&mut tree, "prototype", core.device(), &self.prototype).await?;
        Ok(tree)
    }

    /// Goes on from what [`Pass::state`] gave.
    ///
    /// # Errors
    /// [`Error::Store`] where it does not fit the samples.
    pub fn restore(&mut self, core: &Core, samples: &Samples, mut tree: Tree) -> Result<()> {
        self.done = tree.get("done")?;
        if self.done >= samples.len() {
            return Err(tree.error("its pass has more images than the data"));
        }
        overwrite(&mut tree, "prototype", core.device(), &self.prototype)?;
        tree.finish()
    }
}
