//! A data set as five files: IDX images and labels for training and test, and the class names.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;

use super::{Dataset, Images, parse_images, parse_labels};
use crate::{Error, Result};

const MEAN: f32 = 0.5;
const STD: f32 = 0.5;

/// The name and the bytes of one file.
pub(super) struct File<'a> {
    pub name: &'a str,
    pub bytes: &'a [u8],
}

/// The images and the labels of one split.
pub(super) struct Split<'a> {
    pub images: File<'a>,
    pub labels: File<'a>,
}

/// Reads a data set from a directory: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, the same two with `t10k` for
/// the test set (each plain or with `.gz`), and `classes.txt`, one name a line in label order.
/// Pixels become `(x / 255 - 0.5) / 0.5`.
///
/// # Errors
/// [`Error::Data`] if a file is missing, malformed or does not fit the others, or if a class has no image in a split;
/// [`Error::Io`] if a file cannot be read.
pub fn from_dir(dir: &Path) -> Result<Dataset> {
    let classes = read(dir, &["classes.txt"])?;
    let [train_images, train_labels, test_images, test_labels] =
        ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
            .map(|name| read(dir, &[&format!("{name}.gz"), name]));
    let (train_images, train_labels) = (train_images?, train_labels?);
    let (test_images, test_labels) = (test_images?, test_labels?);
    let name = dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy();
    from_files(
        &name,
        Split { images: view(&train_images), labels: view(&train_labels) },
        Split { images: view(&test_images), labels: view(&test_labels) },
        view(&classes),
    )
}

/// Builds a data set from the contents of its files, with every check of [`from_dir`].
pub(super) fn from_files(name: &str, train: Split, test: Split, classes: File) -> Result<Dataset> {
    let test_file = test.images.name;
    let classes = class_names(classes)?;
    let train = images(train, &classes)?;
    let test = images(test, &classes)?;
    let [expected, got] = [&train, &test].map(|split| (split.height, split.width));
    if expected != got {
        return Err(bad(test_file, format!("test images are {got:?} (height, width), training images {expected:?}")));
    }
    Ok(Dataset { name: name.into(), train, test, classes })
}

/// The first of `names` that exists in `dir`, with its full name.
fn read(dir: &Path, names: &[&str]) -> Result<(String, Vec<u8>)> {
    for name in names {
        let path = dir.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => return Ok((path.display().to_string(), bytes)),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("read", path, &e)),
        }
    }
    Err(bad(&dir.display().to_string(), format!("the file {} is missing", names.join(" or "))))
}

fn view((name, bytes): &(String, Vec<u8>)) -> File<'_> {
    File { name, bytes }
}

fn class_names(File { name, bytes }: File) -> Result<Vec<String>> {
    let text = std::str::from_utf8(bytes).map_err(|e| bad(name, format!("not UTF-8: {e}")))?;
    let (mut classes, mut known) = (Vec::new(), HashSet::new());
    for (i, line) in text.lines().enumerate() {
        let class = line.trim();
        if class.is_empty() {
            return Err(bad(name, format!("line {} is empty; write one class name a line", i + 1)));
        }
        if !known.insert(class) {
            return Err(bad(name, format!("line {} repeats the class `{class}`", i + 1)));
        }
        classes.push(String::from(class));
    }
    if classes.is_empty() {
        return Err(bad(name, "no class names; write one a line".into()));
    }
    Ok(classes)
}

fn images(Split { images, labels }: Split, classes: &[String]) -> Result<Images> {
    let parsed = parse_images(images.name, images.bytes)?;
    let file = labels.name;
    let labels = parse_labels(file, labels.bytes, classes.len())?;
    if labels.len() != parsed.count {
        return Err(bad(file, format!("{} labels for the {} images of {}", labels.len(), parsed.count, images.name)));
    }
    let mut seen = vec![false; classes.len()];
    labels.iter().for_each(|&label| seen[label as usize] = true);
    if let Some(missing) = seen.iter().position(|&seen| !seen) {
        return Err(bad(file, format!("class {missing} (`{}`) has no image", classes[missing])));
    }
    let pixels = parsed.pixels.iter().map(|&x| (f32::from(x) / 255.0 - MEAN) / STD).collect();
    Ok(Images { pixels, labels, channels: 1, height: parsed.height, width: parsed.width })
}

fn bad(file: &str, message: String) -> Error {
    Error::Data { file: file.into(), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn idx(sizes: &[u32], content: &[u8]) -> Vec<u8> {
        let mut bytes = (0x800 + sizes.len() as u32).to_be_bytes().to_vec();
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes.extend(content);
        bytes
    }

    /// Two classes, three 1x2 training images, two test images.
    fn small() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
        put("classes.txt", b"key\nstar\n");
        put("train-images-idx3-ubyte", &idx(&[3, 1, 2], &[0, 255, 51, 102, 153, 204]));
        put("train-labels-idx1-ubyte", &idx(&[3], &[1, 0, 1]));
        put("t10k-images-idx3-ubyte", &idx(&[2, 1, 2], &[255, 0, 0, 255]));
        put("t10k-labels-idx1-ubyte", &idx(&[2], &[0, 1]));
        dir
    }

    fn refused(dir: &tempfile::TempDir, words: &[&str]) {
        let text = from_dir(dir.path()).unwrap_err().to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }

    #[test]
    fn reads_a_directory() {
        let dir = small();
        let data = from_dir(dir.path()).unwrap();
        assert_eq!(data.classes, ["key", "star"]);
        assert_eq!((data.train.len(), data.test.len(), data.train.image_len()), (3, 2, 2));
        assert_eq!(data.train.labels, [1, 0, 1]);
        for (got, expected) in data.train.pixels.iter().zip([-1.0, 1.0, -0.6, -0.2, 0.2, 0.6]) {
            assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        }
    }

    #[test]
    fn missing_file_is_named() {
        let dir = small();
        fs::remove_file(dir.path().join("t10k-labels-idx1-ubyte")).unwrap();
        refused(&dir, &["t10k-labels-idx1-ubyte.gz or t10k-labels-idx1-ubyte", "missing"]);
    }

    #[test]
    fn files_must_fit_each_other() {
        let dir = small();
        fs::write(dir.path().join("train-labels-idx1-ubyte"), idx(&[2], &[1, 0])).unwrap();
        refused(&dir, &["train-labels", "2 labels for the 3 images"]);
        let dir = small();
        fs::write(dir.path().join("t10k-images-idx3-ubyte"), idx(&[2, 2, 1], &[0; 4])).unwrap();
        refused(&dir, &["t10k-images", "(2, 1)", "(1, 2)"]);
        let dir = small();
        fs::write(dir.path().join("t10k-labels-idx1-ubyte"), idx(&[2], &[0, 0])).unwrap();
        refused(&dir, &["t10k-labels", "class 1 (`star`) has no image"]);
    }

    #[test]
    fn class_names_are_checked() {
        for (text, words) in
            [("", "no class names"), ("key\n\nstar\n", "line 2"), ("key\nkey\n", "repeats the class `key`")]
        {
            let dir = small();
            fs::write(dir.path().join("classes.txt"), text).unwrap();
            refused(&dir, &["classes.txt", words]);
        }
    }
}
