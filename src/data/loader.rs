//! Batches of images, decoded and transformed ahead of their use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::cache::{Budget, Cache};
use super::view::{Change, View};
use super::{Images, Picture};
use crate::host::{Ahead, Instant, cores};
use crate::{Error, Result};

/// Bytes that finished images may take while they wait for their batch.
const WAITING: usize = 32 << 20;
/// Finished images that may wait, however small they are.
const MOST: usize = 1024;

/// One batch: which images, and the pass in which they are changed at random, if they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Indices into the loader's images.
    pub images: Vec<usize>,
    /// `None` for plain images.
    pub epoch: Option<u32>,
}

/// Images as a backbone sees them. What comes out depends on the images, the view and the seed, not on threads or cache.
#[derive(Debug)]
pub struct Loader {
    images: Images,
    view: View,
    seed: u64,
    threads: usize,
    /// Whether pictures are kept as decoded, for changes to come, or as the plain view.
    keep_decoded: bool,
    cache: Option<Cache>,
    waited: Arc<AtomicU64>,
}

impl Loader {
    /// `augmented` tells whether batches will ask for changed images; decoded ones are kept as far as `budget` goes.
    pub fn new(images: Images, view: View, seed: u64, augmented: bool, budget: &Arc<Budget>) -> Self {
        let in_memory = images.source.in_memory();
        let as_they_are =
            in_memory && !augmented && !images.is_empty() && images.size(0).is_ok_and(|size| size == view.shape()[1..]);
        let cache = (!in_memory).then(|| Cache::new(budget.clone()));
        let threads = if as_they_are { 0 } else { cores() };
        Self { images, view, seed, threads, keep_decoded: augmented, cache, waited: Arc::default() }
    }

    /// With so many threads, 0 for none, instead of one a core.
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// The time spent in waiting is added to this as well, in nanoseconds.
    pub fn with_clock(self, waited: Arc<AtomicU64>) -> Self {
        Self { waited, ..self }
    }

    /// The images behind.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// Channels, rows and columns of every image.
    pub fn shape(&self) -> [usize; 3] {
        self.view.shape()
    }

    /// How long batches have been waited for.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited.load(Ordering::Relaxed))
    }

    /// The pixels `[n, channels, rows, columns]` of every batch, in order. At most 32 MiB of them are ready before they are
    /// asked for, or two images a thread if that is more.
    ///
    /// # Errors
    /// [`Error::Io`] where no thread can be had. Of a batch: those of [`Images::picture`] and [`View::plain`].
    pub fn stream(self: &Arc<Self>, batches: Vec<Batch>) -> Result<Stream> {
        let order: Vec<_> = batches.iter().flat_map(|b| b.images.iter().map(|&i| (i, b.epoch))).collect();
        let size: usize = self.shape().iter().product();
        let ahead = (WAITING / size.max(1)).min(MOST).max(2 * self.threads);
        let (loader, n) = (self.clone(), order.len());
        let images = Ahead::new(n, ahead, self.threads.min(n), move |i| loader.seen(order[i].0, order[i].1));
        let images = images.map_err(|e| Error::io("start", "threads that load images", &e))?;
        let sizes = batches.iter().map(|batch| batch.images.len()).collect::<Vec<_>>().into_iter();
        Ok(Stream { images, sizes, size, waited: self.waited.clone() })
    }

    /// Image `i` as the backbone sees it, `[channels, rows, columns]`.
    fn seen(&self, i: usize, epoch: Option<u32>) -> Result<Vec<u8>> {
        let sample = self.images.index[i];
        let picture = match self.cache.as_ref().and_then(|cache| cache.get(sample)) {
            Some(kept) => kept,
            None => {
                let decoded = self.images.picture(i)?;
                let picture = Arc::new(if self.keep_decoded { decoded } else { self.plain(decoded, i)? });
                if let Some(cache) = &self.cache {
                    cache.put(sample, &picture);
                }
                picture
            }
        };
        if !self.keep_decoded {
            return Ok(picture.planes());
        }
        let picture = Arc::unwrap_or_clone(picture);
        let seen = match epoch {
            Some(epoch) => self.view.changed(picture, Change { seed: self.seed, epoch, sample }),
            None => self.view.plain(picture),
        };
        Ok(seen.map_err(|e| self.named(i, e))?.planes())
    }

    fn plain(&self, picture: Picture, i: usize) -> Result<Picture> {
        self.view.plain(picture).map_err(|e| self.named(i, e))
    }

    /// An error of image `i`, with its name.
    fn named(&self, i: usize, error: Error) -> Error {
        Error::Data { file: self.images.name(i), message: error.to_string() }
    }
}

/// Batches in order.
#[derive(Debug)]
pub struct Stream {
    images: Ahead<Result<Vec<u8>>>,
    sizes: std::vec::IntoIter<usize>,
    /// Bytes of an image.
    size: usize,
    waited: Arc<AtomicU64>,
}

impl Iterator for Stream {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let n = self.sizes.next()?;
        let start = Instant::now();
        let mut pixels = Vec::with_capacity(n * self.size);
        for image in self.images.by_ref().take(n) {
            match image {
                Ok(image) => pixels.extend(image),
                Err(e) => return Some(Err(e)),
            }
        }
        self.waited.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        Some(Ok(pixels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Settings, load};

    /// A folder of twelve pictures of three kinds.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for split in ["train", "test"] {
            std::fs::create_dir_all(dir.path().join(split).join("a")).unwrap();
            for i in 0..12 {
                let (name, end) = [("jpeg-420", "jpg"), ("png-palette", "png"), ("webp-lossy", "webp")][i % 3];
                let bytes = crate::data::tests::golden(&format!("{name}.file")).1;
                std::fs::write(dir.path().join(format!("{split}/a/{i:02}.{end}")), bytes).unwrap();
            }
        }
        dir
    }

    /// Threads, cache, order and batches change nothing.
    #[test]
    fn pixels_depend_on_seed_epoch_and_sample_alone() {
        let dir = folder();
        let settings = Settings { augment: true, ..Settings::default() };
        let images = load(dir.path().to_str().unwrap(), &settings).unwrap().train;
        let view = View::new(&settings, 3, 16);
        let all = |epoch, sizes: &[usize], reversed: bool| {
            let mut order: Vec<usize> = (0..12).collect();
            if reversed {
                order.reverse();
            }
            let mut batches = Vec::new();
            for &n in sizes {
                batches.push(Batch { images: order.drain(..n).collect(), epoch });
            }
            batches
        };
        let run = |threads, cache, augmented, batches: Vec<Batch>| -> Vec<Vec<u8>> {
            let loader = Loader::new(images.clone(), view, 9, augmented, &Budget::new(cache)).with_threads(threads);
            let loader = Arc::new(loader);
            let pass = || -> Vec<u8> { loader.stream(batches.clone()).unwrap().flat_map(|b| b.unwrap()).collect() };
            let (first, second) = (pass(), pass());
            assert!(first == second, "the second pass differs");
            first.chunks(3 * 16 * 16).map(<[u8]>::to_vec).collect()
        };
        for (augmented, epoch) in [(true, Some(2)), (true, None), (false, None)] {
            let expected = run(0, 0, augmented, all(epoch, &[12], false));
            assert_eq!(expected.len(), 12);
            for (threads, cache, sizes) in [(1, 0, &[5, 7][..]), (3, 3000, &[1, 11]), (8, 1 << 20, &[4, 4, 4])] {
                assert!(run(threads, cache, augmented, all(epoch, sizes, false)) == expected);
                let mut reversed = run(threads, cache, augmented, all(epoch, sizes, true));
                reversed.reverse();
                assert!(reversed == expected);
            }
            let other = run(2, 0, augmented, all(epoch.map(|e| e + 1), &[12], false));
            assert_eq!(other == expected, epoch.is_none());
        }
    }

    #[test]
    fn a_damaged_image_ends_its_batch_with_its_name() {
        let dir = folder();
        std::fs::write(dir.path().join("train/a/07.png"), b"no image").unwrap();
        let settings = Settings::default();
        let images = load(dir.path().to_str().unwrap(), &settings).unwrap().train;
        let loader = Arc::new(Loader::new(images, View::new(&settings, 1, 16), 0, false, &Budget::new(0)));
        let batches = [0..6, 6..12].map(|r| Batch { images: r.collect(), epoch: None }).to_vec();
        let mut stream = loader.stream(batches).unwrap();
        assert_eq!(stream.next().unwrap().unwrap().len(), 6 * 256);
        assert!(stream.next().unwrap().unwrap_err().to_string().contains("07.png"));
    }
}
