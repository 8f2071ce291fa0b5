//! A directory of IDX files: images and labels for training and test, and perhaps the class names.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::source::Arrays;
use super::{Images, Parts, class_names, parse_images, parse_labels};
use crate::{Error, Result};

/// Labels are bytes.
const MAX_CLASSES: usize = 256;

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

/// Whether a directory holds IDX images.
pub(super) fn found(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|entries| {
        entries.flatten().any(|entry| idx_name(&entry.path()).is_some_and(|name| name.ends_with("images-idx3-ubyte")))
    })
}

/// The name of an IDX file without `.gz`, and with `-idx` where a copy has `.idx`.
fn idx_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".gz").unwrap_or(name).replace(".idx", "-idx");
    name.ends_with("-ubyte").then_some(name)
}

/// Reads a directory as MNIST and its family are distributed: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, the same
/// two with `t10k` or `test` (each plain or with `.gz`, and with any prefix, as EMNIST has), and perhaps `classes.txt`, one
/// name a line in label order. Without names a class is called by its label, and labels that no image has are no classes.
///
/// # Errors
/// [`Error::Data`] if a file is missing, there twice, malformed or does not fit the others; [`Error::Io`].
pub(super) fn read(dir: &Path) -> Result<Parts> {
    let classes = match std::fs::read(dir.join("classes.txt")) {
        Ok(bytes) => Some((dir.join("classes.txt").display().to_string(), bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(Error::io("read", dir.join("classes.txt"), &e)),
    };
    let one = |splits: &[&str], end: &str| load(dir, splits, end);
    let (train_images, train_labels) = (one(&["train"], "images-idx3-ubyte")?, one(&["train"], "labels-idx1-ubyte")?);
    let test = ["t10k", "test"];
    let (test_images, test_labels) = (one(&test, "images-idx3-ubyte")?, one(&test, "labels-idx1-ubyte")?);
    parse(
        Split { images: view(&train_images), labels: view(&train_labels) },
        Split { images: view(&test_images), labels: view(&test_labels) },
        classes.as_ref().map(view),
    )
}

/// The one file of a split, plain or zipped.
fn load(dir: &Path, splits: &[&str], end: &str) -> Result<(String, Vec<u8>)> {
    let failed = |e: std::io::Error| Error::io("read", dir, &e);
    let wanted = |path: &PathBuf| {
        idx_name(path).is_some_and(|name| splits.iter().any(|s| name.ends_with(&format!("{s}-{end}"))))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        files.push(entry.map_err(failed)?.path());
    }
    files.retain(wanted);
    files.sort();
    // The same file plain and zipped is one.
    files.dedup_by_key(|path| idx_name(path));
    let name = format!("{}-{end}", splits.join(&format!("-{end} or ")));
    match files.as_slice() {
        [path] => {
            let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, &e))?;
            Ok((path.display().to_string(), bytes))
        }
        [] => Err(bad(&dir.display().to_string(), format!("the file {name} (or .gz) is missing"))),
        _ => Err(bad(
            &dir.display().to_string(),
            format!("it has several files {name}; a data set needs its own directory"),
        )),
    }
}

fn view((name, bytes): &(String, Vec<u8>)) -> File<'_> {
    File { name, bytes }
}

/// Builds a data set from the contents of its files, with every check of [`read`].
pub(super) fn parse(train: Split, test: Split, classes: Option<File>) -> Result<Parts> {
    let test_file = test.images.name;
    let named = classes.map(|file| class_names(file.name, file.bytes)).transpose()?;
    let count = named.as_ref().map_or(MAX_CLASSES, Vec::len);
    let (train, train_labels) = images(train, count)?;
    let (test, test_labels) = images(test, count)?;
    if train.shape != test.shape {
        let [expected, got] = [&train, &test].map(|split| (split.shape[1], split.shape[2]));
        return Err(bad(test_file, format!("test images are {got:?} (height, width), training images {expected:?}")));
    }
    let mut labels = [train_labels, test_labels];
    let classes = named.unwrap_or_else(|| {
        let mut used: Vec<u32> = labels.concat();
        used.sort_unstable();
        used.dedup();
        let class = |label: &u32| used.binary_search(label).unwrap_or_default() as u32;
        labels.iter_mut().for_each(|split| split.iter_mut().for_each(|label| *label = class(label)));
        used.iter().map(u32::to_string).collect()
    });
    let [train_labels, test_labels] = labels;
    let train = Images::new(Arc::new(train), train_labels);
    Ok(Parts { classes, train, test: Some(Images::new(Arc::new(test), test_labels)) })
}

fn images(Split { images, labels }: Split, classes: usize) -> Result<(Arrays, Vec<u32>)> {
    let parsed = parse_images(images.name, images.bytes)?;
    let file = labels.name;
    let labels = parse_labels(file, labels.bytes, classes)?;
    if labels.len() != parsed.count {
        return Err(bad(file, format!("{} labels for the {} images of {}", labels.len(), parsed.count, images.name)));
    }
    let arrays = Arrays { name: images.name.into(), shape: [1, parsed.height, parsed.width], pixels: parsed.pixels };
    Ok((arrays, labels))
}

fn bad(file: &str, message: String) -> Error {
    Error::Data { file: file.into(), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Settings, load};
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

    fn read(dir: &tempfile::TempDir) -> Result<crate::data::Dataset> {
        load(dir.path().to_str().unwrap(), &Settings::default())
    }

    fn refused(dir: &tempfile::TempDir, words: &[&str]) {
        let text = read(dir).unwrap_err().to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }

    #[test]
    fn reads_a_directory() {
        let data = read(&small()).unwrap();
        assert_eq!(data.classes, ["key", "star"]);
        assert_eq!((data.train.len(), data.test.len()), (3, 2));
        assert_eq!(data.train.labels, [1, 0, 1]);
        let picture = data.train.picture(2).unwrap();
        assert_eq!((picture.height, picture.width, picture.channels, picture.pixels), (1, 2, 1, vec![153, 204]));
    }

    /// As EMNIST comes: labels from 1, a prefix, `test`, and no names.
    #[test]
    fn names_are_optional_and_prefixes_are_read_over() {
        let dir = small();
        fs::remove_file(dir.path().join("classes.txt")).unwrap();
        for (split, labels) in [("train", &[3u8, 1, 3][..]), ("t10k", &[1, 3])] {
            let new = if split == "t10k" { "test" } else { split };
            let at = |name: String| dir.path().join(name);
            let images = at(format!("letters-{new}-images-idx3-ubyte"));
            fs::rename(at(format!("{split}-images-idx3-ubyte")), images).unwrap();
            fs::remove_file(at(format!("{split}-labels-idx1-ubyte"))).unwrap();
            fs::write(at(format!("letters-{new}-labels-idx1-ubyte")), idx(&[labels.len() as u32], labels)).unwrap();
        }
        let data = read(&dir).unwrap();
        assert_eq!((data.classes, data.train.labels), (vec!["1".into(), "3".into()], vec![1, 0, 1]));
        fs::write(dir.path().join("other-train-images-idx3-ubyte"), b"").unwrap();
        refused(&dir, &["several files train-images-idx3-ubyte"]);
    }

    #[test]
    fn missing_file_is_named() {
        let dir = small();
        fs::remove_file(dir.path().join("t10k-labels-idx1-ubyte")).unwrap();
        refused(&dir, &["t10k-labels-idx1-ubyte", "missing"]);
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
        refused(&dir, &["class `star` has no test image"]);
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
