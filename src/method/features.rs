//! Features of a task's images that are kept on the host, because they do not change while the task is learned.

use crate::device::{Device, Tensor};
use crate::method::{Core, Observer, Phase, Samples, Stream, check_finite};
use crate::model::pixels;
use crate::model::state::take;
use crate::store::Tree;
use crate::{Error, Result};

/// Features of images, in each of some quarter turns.
#[derive(Clone, Debug)]
pub(crate) struct Features {
    /// Numbers in a feature, d1.
    width: usize,
    images: usize,
    /// [turns, images, d1].
    values: Vec<f64>,
}

impl Features {
    /// The mean over images `[d1]`.
    pub fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.width];
        for row in self.values.chunks(self.width) {
            mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        let images = (self.values.len() / self.width) as f64;
        mean.iter_mut().for_each(|sum| *sum /= images);
        mean
    }

    /// `|other - self|_F / |self|_F`.
    pub fn distance(&self, other: &Self) -> f64 {
        let pairs = || self.values.iter().zip(&other.values);
        let moved: f64 = pairs().map(|(x, y)| (y - x) * (y - x)).sum();
        let norm: f64 = pairs().map(|(x, _)| x * x).sum();
        (moved / norm.max(f64::MIN_POSITIVE)).sqrt()
    }

    /// The numbers of features, for a state.
    pub fn save(&self, tree: &mut Tree, name: &str, device: &Device) {
        let turns = self.values.len() / (self.images * self.width);
        let shape = [turns, self.images, self.width];
        put(tree, name, &shape, &self.values, device);
    }

    /// What [`Features::save`] gave, if there is anything, of this shape [turns, images, d1].
    ///
    /// # Errors
    /// [`Error::Store`] where it is misshapen.
    pub fn restore(tree: &mut Tree, name: &str, shape: [usize; 3]) -> Result<Option<Self>> {
        if !tree.has(name) {
            return Ok(None);
        }
        let [_, images, width] = shape;
        if width == 0 {
            return Err(tree.error(format!("`{name}` holds features of no numbers")));
        }
        Ok(Some(Self { width, images, values: take(tree, name, &shape)? }))
    }

    /// The features [n, d1] of some images, each in its turn.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn upload(&self, device: &Device, images: &[usize], turns: &[u32]) -> Result<Tensor> {
        let row = |(&i, &r): (&usize, &u32)| {
            let at = (r as usize * self.images + i) * self.width;
            self.values[at..at + self.width].iter().copied()
        };
        let rows: Vec<f64> = images.iter().zip(turns).flat_map(row).collect();
        device.upload(&rows, &[images.len(), self.width])
    }

    /// Those of images as they are, [n, d1] row after row.
    pub fn rows(&self) -> &[f64] {
        &self.values[..self.images * self.width]
    }

    /// Numbers in a feature, d1.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The same of images as they are.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn plain(&self, device: &Device, images: &[usize]) -> Result<Tensor> {
        self.upload(device, images, &vec![0; images.len()])
    }
}

/// Features in the precision of the device that they come from.
fn put(tree: &mut Tree, name: &str, shape: &[usize], values: &[f64], device: &Device) {
    if device.is_double() {
        tree.put(name, shape, values);
    } else {
        tree.put(name, shape, &values.iter().map(|&x| x as f32).collect::<Vec<_>>());
    }
}

/// Whose features a pass keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Of the untouched backbone, of images in so many quarter turns.
    Backbone { turns: usize },
    /// Of the network as it is.
    Network,
}

/// A pass over the images of a task that keeps their features.
pub(crate) struct FeaturePass {
    whose: Whose,
    done: usize,
    /// By turn.
    values: Vec<Vec<f64>>,
    stream: Option<Stream>,
}

impl FeaturePass {
    pub fn new(whose: Whose) -> Self {
        let turns = if let Whose::Backbone { turns } = whose { turns } else { 1 };
        Self { whose, done: 0, values: vec![Vec::new(); turns], stream: None }
    }

    /// How far it is: `passed` images with their features so far.
    pub fn save(&self, tree: &mut Tree, device: &Device) {
        if self.done > 0 {
            let values = self.values.concat();
            let width = values.len() / (self.values.len() * self.done);
            put(tree, "passed", &[self.values.len(), self.done, width], &values, device);
        }
    }

    /// Goes on from what [`FeaturePass::save`] gave, if anything, in a pass over so many images.
    ///
    /// # Errors
    /// [`Error::Store`] where it does not fit.
    pub fn restore(&mut self, tree: &mut Tree, images: usize, width: usize) -> Result<()> {
        if !tree.has("passed") {
            return Ok(());
        }
        let turns = self.values.len();
        let &[_, done, _] = tree.shape("passed")? else { return Err(tree.error("`passed` has no images")) };
        if done == 0 || done >= images || width == 0 {
            return Err(tree.error(format!("its pass has done {done} images of {images}, {width} numbers each")));
        }
        let values = take(tree, "passed", &[turns, done, width])?;
        self.done = done;
        self.values = values.chunks(done * width).map(<[f64]>::to_vec).collect();
        Ok(())
    }

    /// One batch; the features after the last.
    ///
    /// # Errors
    /// [`Error::Diverged`] where features are not finite, [`Error::Shape`] where they hold nothing; device errors, those of
    /// whoever brings the images.
    pub async fn step(
        &mut self,
        core: &Core,
        samples: &Samples,
        observer: &mut dyn Observer,
    ) -> Result<Option<Features>> {
        let (device, whose) = (core.device(), self.whose);
        let make = |images: &Tensor, first: usize, turn: usize| match (whose, turn) {
            (Whose::Network, _) => core.features(images, first),
            (Whose::Backbone { .. }, 0) => core.network.floor(images),
            (Whose::Backbone { .. }, turn) => {
                let n = images.shape()[0];
                let turns = device.upload_u32(&vec![turn as u32; n], &[n])?;
                core.network.floor(&pixels::turned(device, images, &turns)?)
            }
        };
        self.step_by(device, core.fit_batch, samples, make, observer).await
    }

    /// The same by any backbone: `make` gives the features [B, d1] of at most `size` images of the pass, from the one of this
    /// number on, which are to be turned by so many quarters.
    ///
    /// # Errors
    /// See [`FeaturePass::step`].
    pub async fn step_by(
        &mut self,
        device: &Device,
        size: usize,
        samples: &Samples,
        make: impl Fn(&Tensor, usize, usize) -> Result<Tensor>,
        observer: &mut dyn Observer,
    ) -> Result<Option<Features>> {
        let n = samples.len();
        if self.stream.is_none() {
            let what = if self.whose == Whose::Network { "features" } else { "features of the backbone" };
            observer.begin(Phase::Analytic, what, n);
            observer.advance(self.done);
            self.stream = Some(samples.stream(samples.batches(self.done..n, size, None))?);
        }
        let loading = device.phase("images");
        let pixels = self.stream.as_mut().and_then(Iterator::next);
        let pixels = pixels.ok_or_else(|| Error::Unsupported("the samples end before the pass".into()))??;
        let batch = size.min(n - self.done);
        let images = samples.upload(device, &pixels, 0..batch)?;
        drop(loading);
        let _forward = device.phase("forward");
        for (turn, values) in self.values.iter_mut().enumerate() {
            values.extend(device.read::<f64>(&make(&images, self.done, turn)?).await?);
        }
        observer.advance(batch);
        self.done += batch;
        if self.done < n {
            return Ok(None);
        }
        observer.end(Phase::Analytic, None);
        let values = std::mem::take(&mut self.values);
        // ReLU would turn NaN into 0 and hide a divergence behind a classifier that always answers the same.
        values.iter().try_for_each(|values| check_finite("the features", values, "lr"))?;
        let width = values.first().map_or(0, Vec::len) / n;
        if width == 0 {
            return Err(Error::shape("pass", "features", "at least 1 number", width));
        }
        Ok(Some(Features { width, images: n, values: values.concat() }))
    }
}
