//! Labelled images: reading, checking and picking batches.

mod folder;
mod icons;
mod idx;

pub use folder::from_dir;
pub use icons::icons;
pub use idx::{IdxImages, parse_images, parse_labels};

use std::path::Path;

use crate::{Error, Result};

/// The name of the embedded data set, as given to [`load`].
pub const ICONS: &str = "icons";

/// Labelled images of one size.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// `[n, channels, height, width]`, row-major, normalised: `(x / 255 - mean) / std`.
    pub pixels: Vec<f32>,
    /// `[n]`, the class of each image.
    pub labels: Vec<u32>,
    /// Colour planes of an image.
    pub channels: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
}

impl Images {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The number of values of one image: `channels * height * width`.
    pub fn image_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Copies the images `idx`, in that order.
    ///
    /// # Shapes
    /// Returns pixels `[idx.len(), channels, height, width]` and labels `[idx.len()]`.
    ///
    /// # Panics
    /// If an index is not below [`len`](Self::len).
    pub fn gather(&self, idx: &[usize]) -> (Vec<f32>, Vec<u32>) {
        let size = self.image_len();
        let mut pixels = Vec::with_capacity(idx.len() * size);
        for &i in idx {
            pixels.extend_from_slice(&self.pixels[i * size..(i + 1) * size]);
        }
        (pixels, idx.iter().map(|&i| self.labels[i]).collect())
    }
}

/// A training and a test set over the same classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// What the data set is called in reports.
    pub name: String,
    /// The images to learn from.
    pub train: Images,
    /// The images to judge by.
    pub test: Images,
    /// The name of each class, in label order.
    pub classes: Vec<String>,
}

/// Loads the data set of the setting `data`: [`ICONS`] (embedded), else a directory read by [`from_dir`].
///
/// # Errors
/// Those of [`from_dir`].
pub fn load(data: &str) -> Result<Dataset> {
    if data == ICONS {
        return icons();
    }
    let dir = Path::new(data);
    if !dir.is_dir() {
        return Err(Error::Data {
            file: data.into(),
            message: format!("no such directory; give a directory, or \"{ICONS}\" for the embedded icons"),
        });
    }
    from_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gather_copies_in_the_given_order() {
        let images = Images {
            pixels: (0..12).map(|v| v as f32).collect(),
            labels: vec![7, 8, 9],
            channels: 2,
            height: 1,
            width: 2,
        };
        let (pixels, labels) = images.gather(&[2, 0, 2]);
        assert_eq!(pixels, [8., 9., 10., 11., 0., 1., 2., 3., 8., 9., 10., 11.]);
        assert_eq!(labels, [9, 7, 9]);
        assert_eq!(images.gather(&[]), (vec![], vec![]));
    }

    #[test]
    fn load_names_a_missing_directory() {
        let error = load("no/such/place").unwrap_err().to_string();
        assert!(error.contains("no/such/place") && error.contains("icons"), "{error}");
    }
}
