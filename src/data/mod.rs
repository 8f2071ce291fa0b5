//! Labelled images as a stream: labels are known at once, pixels come by index, decoded and transformed ahead of their use.

mod cache;
mod check;
mod cifar;
mod embedded;
mod folder;
mod idx;
mod loader;
mod manifest;
mod mnist;
mod pickle;
mod picture;
mod settings;
mod source;
mod split;
pub mod transform;
mod view;

pub use cache::Budget;
pub use check::{ClassCount, Duplicates, Report, SizeCount, Unreadable, check};
pub use cifar::{parse_binary, parse_python};
pub use embedded::icons;
pub use idx::{IdxImages, parse_images, parse_labels};
pub use loader::{Batch, Loader, Stream};
pub use picture::{Picture, decode, decode_size};
pub use settings::{Fit, Settings};
pub use source::Source;
pub use view::{Change, View};

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// The name of the embedded icons, as given to [`load`].
pub const ICONS: &str = "icons";

/// The name of the embedded share of Fashion-MNIST, as given to [`load`]: 200 training and 200 test images of each of its
/// 10 classes, grey, 28 x 28.
pub const FASHION: &str = "fashion";

/// Labelled images, or some of them.
#[derive(Debug, Clone)]
pub struct Images {
    /// `[n]`, the class of each image.
    pub labels: Vec<u32>,
    /// Which images of the source these are.
    index: Vec<u32>,
    source: Arc<dyn Source>,
}

impl Images {
    /// All images of a source.
    ///
    /// # Panics
    /// If there is not one label for every image.
    pub fn new(source: Arc<dyn Source>, labels: Vec<u32>) -> Self {
        assert_eq!(source.len(), labels.len(), "one label for every image");
        Self { index: (0..labels.len() as u32).collect(), labels, source }
    }

    /// Image files without labels.
    pub fn of_files(files: Vec<PathBuf>) -> Self {
        let labels = vec![0; files.len()];
        Self::new(Arc::new(source::Files(files)), labels)
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The images `idx`, in that order.
    ///
    /// # Panics
    /// If an index is not below [`len`](Self::len).
    pub fn pick(&self, idx: &[usize]) -> Self {
        Self {
            labels: idx.iter().map(|&i| self.labels[i]).collect(),
            index: idx.iter().map(|&i| self.index[i]).collect(),
            source: self.source.clone(),
        }
    }

    /// What image `i` is called in messages.
    pub fn name(&self, i: usize) -> String {
        self.source.name(self.index[i] as usize)
    }

    /// The names of all images.
    pub fn names(&self) -> Vec<String> {
        (0..self.len()).map(|i| self.name(i)).collect()
    }

    /// Height and width of image `i`.
    ///
    /// # Errors
    /// Those of [`Source::size`].
    pub fn size(&self, i: usize) -> Result<[usize; 2]> {
        self.source.size(self.index[i] as usize)
    }

    /// Image `i`.
    ///
    /// # Errors
    /// Those of [`Source::picture`].
    pub fn picture(&self, i: usize) -> Result<Picture> {
        self.source.picture(self.index[i] as usize)
    }
}

/// Training, held-out and test images of the same classes.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// What the data set is called in reports.
    pub name: String,
    /// The images to learn from.
    pub train: Images,
    /// Training images that are not learned from, to choose by; empty unless `holdout` asks for them.
    pub held_out: Images,
    /// The images to judge by.
    pub test: Images,
    /// The name of each class, in label order.
    pub classes: Vec<String>,
    /// Images that were left out as they cannot be read.
    pub bad: Vec<String>,
}

impl Dataset {
    /// A hash of classes, labels and images, in hexadecimal: of pixels that are in memory, of names and lengths of files.
    ///
    /// # Errors
    /// [`Error::Io`] where a file is gone.
    pub fn fingerprint(&self) -> Result<String> {
        let mut hasher = Sha256::new();
        for class in &self.classes {
            hasher.update(class);
            hasher.update([0]);
        }
        for images in [&self.train, &self.held_out, &self.test] {
            hasher.update((images.len() as u64).to_le_bytes());
            for (&i, label) in images.index.iter().zip(&images.labels) {
                hasher.update(label.to_le_bytes());
                images.source.identify(i as usize, &mut hasher)?;
            }
        }
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The images that a run is judged on: those held out, if any are, else the test images.
    pub fn judged(&self) -> &Images {
        if self.held_out.is_empty() { &self.test } else { &self.held_out }
    }
}

/// What a format gives: test images are missing where it does not tell them from the others.
struct Parts {
    classes: Vec<String>,
    train: Images,
    test: Option<Images>,
}

/// Loads the data set of the setting `data`: [`ICONS`] or [`FASHION`] (embedded); a directory of CIFAR-10 or CIFAR-100
/// (binary or python), of IDX files (the MNIST family), or of image files in a folder for each class; a CSV or JSONL file
/// that lists images.
///
/// # Errors
/// [`Error::Data`] if a file is missing, malformed or does not fit the others, or a class has no image in a split;
/// [`Error::Config`] where a setting does not suit the data; [`Error::Io`] if a file cannot be read.
///
/// # Examples
/// A folder for each class, which does not say what is for the test:
/// ```
/// use minoise::data::{self, Settings};
///
/// let dir = tempfile::tempdir()?;
/// for (class, grey) in [("day", 255_u8), ("night", 0)] {
///     std::fs::create_dir(dir.path().join(class))?;
///     for name in ["1.png", "2.png"] {
///         let file = dir.path().join(class).join(name);
///         image::save_buffer(file, &[grey; 64], 8, 8, image::ExtendedColorType::L8)?;
///     }
/// }
/// let settings = Settings { test_share: 0.5, ..Settings::default() };
/// let dataset = data::load(&dir.path().display().to_string(), &settings)?;
/// assert_eq!(dataset.classes, ["day", "night"]);
/// assert_eq!((dataset.train.len(), dataset.test.len()), (2, 2));
/// assert_eq!(dataset.train.picture(1)?.pixels, [0; 64]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn load(data: &str, settings: &Settings) -> Result<Dataset> {
    let (name, parts) = parts(data)?;
    split::divided(&name, parts, settings)
}

/// What is found at `data`, and its name.
fn parts(data: &str) -> Result<(String, Parts)> {
    let path = Path::new(data);
    if let Some(parts) = embedded::read(data) {
        return Ok((data.into(), parts?));
    }
    if path.is_file() && manifest::found(path) {
        return Ok((data.into(), manifest::read(path)?));
    }
    if !path.is_dir() {
        let message =
            format!("no such directory or list of images (.csv, .jsonl); \"{ICONS}\" and \"{FASHION}\" are embedded");
        return Err(Error::Data { file: data.into(), message });
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let parts = if cifar::found(path) {
        cifar::read(path)?
    } else if mnist::found(path) {
        mnist::read(path)?
    } else {
        folder::read(path)?
    };
    Ok((name, parts))
}

/// Names of classes, one a line.
fn class_names(file: &str, bytes: &[u8]) -> Result<Vec<String>> {
    let bad = |message: String| Error::Data { file: file.into(), message };
    let text = std::str::from_utf8(bytes).map_err(|e| bad(format!("not UTF-8: {e}")))?;
    let (mut classes, mut known) = (Vec::new(), HashSet::new());
    // The lists of CIFAR end in an empty line.
    for (i, line) in text.trim_end().lines().enumerate() {
        let class = line.trim();
        if class.is_empty() {
            return Err(bad(format!("line {} is empty; write one class name a line", i + 1)));
        }
        if !known.insert(class) {
            return Err(bad(format!("line {} repeats the class `{class}`", i + 1)));
        }
        classes.push(String::from(class));
    }
    if classes.is_empty() {
        return Err(bad("no class names; write one a line".into()));
    }
    Ok(classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shape and bytes of a tensor of `pictures.safetensors`.
    pub(super) fn golden(name: &str) -> (Vec<usize>, Vec<u8>) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels-tests/golden/pictures.safetensors");
        let bytes = std::fs::read(path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let view = file.tensor(name).unwrap();
        (view.shape().to_vec(), view.data().to_vec())
    }

    #[test]
    fn picks_keep_labels_and_pictures_together() {
        let train = icons().unwrap().train;
        let some = train.pick(&[7, 3, 7]).pick(&[2, 1]);
        assert_eq!(some.labels, [train.labels[7], train.labels[3]]);
        assert_eq!(some.picture(1).unwrap(), train.picture(3).unwrap());
        assert_eq!(some.name(0), train.name(7));
        assert!(train.pick(&[]).is_empty());
    }

    #[test]
    fn load_names_a_missing_directory() {
        let error = load("no/such/place", &Settings::default()).unwrap_err().to_string();
        assert!(error.contains("no/such/place") && error.contains("\"icons\" and \"fashion\""), "{error}");
    }
}
