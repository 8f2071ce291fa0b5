//! CIFAR-10 and CIFAR-100 as they are distributed, binary and python: 32 x 32, red, green and blue planes.
//!
//! Source: <https://www.cs.toronto.edu/~kriz/cifar.html>, "Dataset layout" and "Binary version".

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::pickle::Pickle;
use super::source::Arrays;
use super::{Images, Parts, class_names};
use crate::{Error, Result};

const SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = 3 * 32 * 32;

/// One of the four layouts.
struct Layout {
    /// Files of the training images: `#` stands for 1, 2, ... as far as there are files.
    train: &'static str,
    test: &'static str,
    /// The names of the classes: a line each, or a list of this entry of a pickle.
    names: (&'static str, Option<&'static str>),
    /// Bytes before the pixels of an image, the last of which is its label; or the entry of a pickle that holds the labels.
    labels: Labels,
}

#[derive(Clone, Copy)]
enum Labels {
    Bytes(usize),
    Entry(&'static str),
}

const LAYOUTS: [Layout; 4] = [
    Layout {
        train: "data_batch_#.bin",
        test: "test_batch.bin",
        names: ("batches.meta.txt", None),
        labels: Labels::Bytes(1),
    },
    Layout { train: "train.bin", test: "test.bin", names: ("fine_label_names.txt", None), labels: Labels::Bytes(2) },
    Layout {
        train: "data_batch_#",
        test: "test_batch",
        names: ("batches.meta", Some("label_names")),
        labels: Labels::Entry("labels"),
    },
    Layout {
        train: "train",
        test: "test",
        names: ("meta", Some("fine_label_names")),
        labels: Labels::Entry("fine_labels"),
    },
];

/// Whether a directory holds one of the four versions.
pub(super) fn found(dir: &Path) -> bool {
    layout(dir).is_some()
}

fn layout(dir: &Path) -> Option<&'static Layout> {
    LAYOUTS.iter().find(|layout| train_files(dir, layout).first().is_some_and(|path| path.is_file()))
}

fn train_files(dir: &Path, layout: &Layout) -> Vec<PathBuf> {
    if !layout.train.contains('#') {
        return vec![dir.join(layout.train)];
    }
    let numbered = (1..).map(|i| dir.join(layout.train.replace('#', &i.to_string())));
    numbered.take_while(|path| path.is_file()).collect()
}

/// Reads a directory of one of the four versions; CIFAR-100 by its 100 fine classes.
///
/// # Errors
/// [`Error::Data`] where a file is missing, cut off or does not fit the others; [`Error::Io`].
pub(super) fn read(dir: &Path) -> Result<Parts> {
    let missing = || Error::Data { file: dir.display().to_string(), message: "it holds no version of CIFAR".into() };
    let layout = layout(dir).ok_or_else(missing)?;
    let path = dir.join(layout.names.0);
    let (file, bytes) = load(&path)?;
    let classes = match layout.names.1 {
        Some(entry) => Pickle::parse(&file, &bytes)?.strings(entry)?,
        None => class_names(&file, &bytes)?,
    };
    let train = images(&train_files(dir, layout), layout, classes.len())?;
    let test = images(&[dir.join(layout.test)], layout, classes.len())?;
    Ok(Parts { classes, train, test: Some(test) })
}

fn load(path: &Path) -> Result<(String, Vec<u8>)> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, &e))?;
    Ok((path.display().to_string(), bytes))
}

fn images(paths: &[PathBuf], layout: &Layout, classes: usize) -> Result<Images> {
    let (mut labels, mut pixels) = (Vec::new(), Vec::new());
    for path in paths {
        let (file, bytes) = load(path)?;
        let (new, data) = match layout.labels {
            Labels::Bytes(head) => parse_binary(&file, &bytes, head, classes)?,
            Labels::Entry(entry) => parse_python(&file, &bytes, entry, classes)?,
        };
        labels.extend(new);
        pixels.extend(data);
    }
    let name = paths.first().map(|path| path.display().to_string()).unwrap_or_default();
    Ok(Images::new(Arc::new(Arrays { name, shape: SHAPE, pixels }), labels))
}

/// Parses records of `head` label bytes, the last of which counts, and 3,072 pixels `[3, 32, 32]`: labels, and pixels
/// `[n, 3, 32, 32]`.
///
/// # Errors
/// [`Error::Data`] where the file is empty or no whole number of records, or a label is not below `classes`.
pub fn parse_binary(file: &str, bytes: &[u8], head: usize, classes: usize) -> Result<(Vec<u32>, Vec<u8>)> {
    let record = head + PIXELS;
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        let message = format!("{} bytes are no whole number of records of {record}; fetch it again", bytes.len());
        return Err(Error::Data { file: file.into(), message });
    }
    let records = bytes.chunks_exact(record);
    let labels = records.clone().map(|r| i64::from(r[head - 1])).collect();
    Ok((checked(file, labels, classes)?, records.flat_map(|r| &r[head..]).copied().collect()))
}

/// Parses a pickle with `data`, an array of bytes [n, 3072], and a list of labels: labels, and pixels `[n, 3, 32, 32]`.
///
/// # Errors
/// [`Error::Data`] where the bytes are no such pickle, the two do not fit, or a label is not below `classes`.
pub fn parse_python(file: &str, bytes: &[u8], entry: &str, classes: usize) -> Result<(Vec<u32>, Vec<u8>)> {
    let pickle = Pickle::parse(file, bytes)?;
    let labels = checked(file, pickle.ints(entry)?, classes)?;
    let pixels = pickle.array("data", PIXELS)?;
    if labels.is_empty() || pixels.len() != labels.len() * PIXELS {
        let message = format!("{} labels for {} images", labels.len(), pixels.len() / PIXELS);
        return Err(Error::Data { file: file.into(), message });
    }
    Ok((labels, pixels.to_vec()))
}

fn checked(file: &str, labels: Vec<i64>, classes: usize) -> Result<Vec<u32>> {
    let known = |(i, label): (usize, i64)| {
        let label = u32::try_from(label).ok().filter(|&label| (label as usize) < classes);
        label.ok_or_else(|| Error::Data {
            file: file.into(),
            message: format!("the label of image {i} is not below the number of classes, {classes}"),
        })
    };
    labels.into_iter().enumerate().map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tests::golden;
    use crate::data::{Settings, load};

    fn record(head: &[u8], start: u8) -> Vec<u8> {
        [head, &(0..PIXELS).map(|i| start.wrapping_add((i % 200) as u8)).collect::<Vec<_>>()].concat()
    }

    #[test]
    fn binary_records_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        put("batches.meta.txt", b"airplane\nbird\n\n");
        put("data_batch_1.bin", &record(&[1], 0));
        put("data_batch_2.bin", &[record(&[0], 5), record(&[1], 9)].concat());
        put("test_batch.bin", &[record(&[0], 1), record(&[1], 2)].concat());
        let read = || load(dir.path().to_str().unwrap(), &Settings::default());
        let data = read().unwrap();
        assert_eq!(
            (data.classes.as_slice(), data.train.labels.as_slice()),
            (&["airplane", "bird"].map(String::from)[..], &[1, 0, 1][..])
        );
        let picture = data.train.picture(1).unwrap();
        assert_eq!((picture.height, picture.width, picture.channels), (32, 32, 3));
        // Red, green and blue of the second pixel: 1, 1024 and 2048 further on.
        assert_eq!(picture.pixels[3..6], [5 + 1, 5 + (1025 % 200) as u8, 5 + (2049 % 200) as u8]);
        put("data_batch_2.bin", &record(&[2], 5));
        assert!(read().unwrap_err().to_string().contains("label of image 0"));
        put("data_batch_2.bin", &record(&[0], 5)[1..]);
        assert!(read().unwrap_err().to_string().contains("records of 3073"));
        // CIFAR-100 has a coarse label before the fine one.
        let (labels, pixels) = parse_binary("x", &record(&[7, 1], 3), 2, 2).unwrap();
        assert_eq!((labels, pixels[0]), (vec![1], 3));
    }

    #[test]
    fn pickles_are_read() {
        let bytes = golden("pickle-4.file").1;
        let (labels, pixels) = parse_python("x", &bytes, "fine_labels", 4).unwrap();
        assert_eq!((labels, pixels.len()), (vec![3, 1], 2 * PIXELS));
        let text = parse_python("x", &bytes, "fine_labels", 3).unwrap_err().to_string();
        assert!(text.contains("image 0 is not below the number of classes, 3"), "{text}");
        assert!(parse_python("x", &bytes, "labels", 3).unwrap_err().to_string().contains("`labels`"));
    }
}
