//! Where images come from: arrays in memory, or files that are read when they are asked for.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::picture::{Picture, decode, decode_size};
use crate::{Error, Result};

/// Images by index. Labels stand beside a source, in [`Images`](super::Images).
pub trait Source: std::fmt::Debug + Send + Sync {
    /// The number of images.
    fn len(&self) -> usize;
    /// Whether there is no image.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// What image `i` is called in messages.
    fn name(&self, i: usize) -> String;
    /// Height and width of image `i`, without its pixels.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Data`] where the header is damaged.
    fn size(&self, i: usize) -> Result<[usize; 2]>;
    /// Image `i`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Data`] where the image is damaged.
    fn picture(&self, i: usize) -> Result<Picture>;
    /// Adds what makes image `i` the one that it is: its pixels in memory, the name and length of its file.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn identify(&self, i: usize, hasher: &mut Sha256) -> Result<()>;
    /// Whether a picture costs no more than a copy.
    fn in_memory(&self) -> bool;
}

/// Images of one size, in memory.
#[derive(Clone, Debug)]
pub(super) struct Arrays {
    pub name: String,
    /// Channels, rows, columns of an image.
    pub shape: [usize; 3],
    /// `[n, channels, height, width]`.
    pub pixels: Vec<u8>,
}

impl Source for Arrays {
    fn len(&self) -> usize {
        self.pixels.len() / self.shape.iter().product::<usize>()
    }

    fn name(&self, i: usize) -> String {
        format!("{}, image {i}", self.name)
    }

    fn size(&self, _: usize) -> Result<[usize; 2]> {
        Ok([self.shape[1], self.shape[2]])
    }

    fn picture(&self, i: usize) -> Result<Picture> {
        let size = self.shape.iter().product::<usize>();
        Ok(Picture::from_planes(self.shape, &self.pixels[i * size..][..size]))
    }

    fn identify(&self, i: usize, hasher: &mut Sha256) -> Result<()> {
        let size = self.shape.iter().product::<usize>();
        hasher.update(&self.pixels[i * size..][..size]);
        Ok(())
    }

    fn in_memory(&self) -> bool {
        true
    }
}

/// Image files.
#[derive(Clone, Debug)]
pub(super) struct Files(pub Vec<PathBuf>);

impl Files {
    fn read(&self, i: usize) -> Result<(String, Vec<u8>)> {
        let path = &self.0[i];
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, &e))?;
        Ok((self.name(i), bytes))
    }
}

impl Source for Files {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn name(&self, i: usize) -> String {
        self.0[i].display().to_string()
    }

    fn size(&self, i: usize) -> Result<[usize; 2]> {
        let (name, bytes) = self.read(i)?;
        decode_size(&name, &bytes)
    }

    fn picture(&self, i: usize) -> Result<Picture> {
        let (name, bytes) = self.read(i)?;
        decode(&name, &bytes)
    }

    fn identify(&self, i: usize, hasher: &mut Sha256) -> Result<()> {
        let path = &self.0[i];
        let length = std::fs::metadata(path).map_err(|e| Error::io("read", path, &e))?.len();
        // The folder of a data set may move.
        hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update(length.to_le_bytes());
        Ok(())
    }

    fn in_memory(&self) -> bool {
        false
    }
}
