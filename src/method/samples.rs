//! Images as a method takes them: labels at once, pixels batch by batch.

use std::ops::Range;
use std::sync::Arc;

use crate::device::{Device, Tensor};
use crate::model::pixels;
use crate::{Error, Result};

/// One batch that a method asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Indices into the samples.
    pub images: Vec<usize>,
    /// The pass whose random changes the images get, if they are to be changed and there are any; else they are plain.
    pub epoch: Option<u32>,
}

/// Pixels [n, C, H, W] of a batch.
#[derive(Clone, Debug)]
pub enum Raw {
    /// Those that the device looks up in [`Pixels::table`].
    Bytes(Vec<u8>),
    /// As they are to be seen.
    Reals(Vec<f32>),
}

/// Pixels of batches in their order.
pub type Stream = Box<dyn Iterator<Item = Result<Raw>>>;

/// Where the pixels of samples come from.
pub trait Pixels: std::fmt::Debug {
    /// Channels, rows and columns of an image.
    fn shape(&self) -> [usize; 3];
    /// What becomes of each byte in each channel; nothing where there are no bytes.
    fn table(&self) -> &[[f32; 256]];
    /// The pixels of every batch.
    ///
    /// # Errors
    /// Those of whoever brings the images.
    fn stream(self: Arc<Self>, batches: Vec<Batch>) -> Result<Stream>;
}

/// The training images of one task, or test images; labels in order of appearance.
#[derive(Clone, Debug)]
pub struct Samples {
    pub labels: Vec<u32>,
    pixels: Arc<dyn Pixels>,
}

impl Samples {
    pub fn new(pixels: Arc<dyn Pixels>, labels: Vec<u32>) -> Self {
        Self { labels, pixels }
    }

    /// Samples in memory, with `pixels` [n, C, H, W] as they are to be seen.
    ///
    /// # Errors
    /// [`Error::Shape`] where pixels and labels do not fit together.
    pub fn in_memory(shape: [usize; 3], pixels: Vec<f32>, labels: Vec<u32>) -> Result<Self> {
        let n = labels.len();
        if shape.iter().try_fold(n, |size, &x| size.checked_mul(x)) != Some(pixels.len()) {
            return Err(Error::shape("samples", "pixels", [n, shape[0], shape[1], shape[2]], [pixels.len()]));
        }
        Ok(Self::new(Arc::new(Memory { shape, pixels }), labels))
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Channels, rows and columns of an image.
    pub fn shape(&self) -> [usize; 3] {
        self.pixels.shape()
    }

    /// The pixels of every batch.
    ///
    /// # Errors
    /// Those of [`Pixels::stream`].
    pub fn stream(&self, batches: Vec<Batch>) -> Result<Stream> {
        self.pixels.clone().stream(batches)
    }

    /// Some images of a batch on the device, [n, C, H, W].
    ///
    /// # Errors
    /// Device errors.
    pub fn upload(&self, device: &Device, batch: &Raw, range: Range<usize>) -> Result<Tensor> {
        let [c, h, w] = self.shape();
        let (part, shape) = (range.start * c * h * w..range.end * c * h * w, [range.len(), c, h, w]);
        match batch {
            Raw::Bytes(bytes) => pixels::normalised(device, &bytes[part], shape, self.pixels.table()),
            Raw::Reals(reals) => device.upload(&reals[part], &shape),
        }
    }

    /// The same with nothing in particular in them, to plan with.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn stand_in(&self, device: &Device, n: usize) -> Result<Tensor> {
        let [c, h, w] = self.shape();
        match self.pixels.table() {
            [] => device.reals(&[n, c, h, w]),
            table => pixels::stand_in(device, [n, c, h, w], table),
        }
    }

    /// The images of a range in order, `size` in a batch.
    pub fn batches(&self, range: Range<usize>, size: usize, epoch: Option<u32>) -> Vec<Batch> {
        let all: Vec<usize> = range.collect();
        all.chunks(size).map(|chunk| Batch { images: chunk.to_vec(), epoch }).collect()
    }
}

#[derive(Debug)]
struct Memory {
    shape: [usize; 3],
    pixels: Vec<f32>,
}

impl Pixels for Memory {
    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn table(&self) -> &[[f32; 256]] {
        &[]
    }

    fn stream(self: Arc<Self>, batches: Vec<Batch>) -> Result<Stream> {
        let size: usize = self.shape.iter().product();
        let gather = move |batch: Batch| {
            let pixels = batch.images.iter().flat_map(|&i| &self.pixels[i * size..(i + 1) * size]);
            Ok(Raw::Reals(pixels.copied().collect()))
        };
        Ok(Box::new(batches.into_iter().map(gather)))
    }
}
