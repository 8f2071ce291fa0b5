//! The embedded data sets, by name: icons (`data/icons/README.md`) and a share of Fashion-MNIST (`data/fashion/README.md`).

use super::mnist::{File, Split, parse};
use super::{Dataset, FASHION, ICONS, Parts, Settings, load};
use crate::Result;

macro_rules! embedded {
    ($dir:literal, $name:literal) => {
        File {
            name: concat!("data/", $dir, "/", $name),
            bytes: include_bytes!(concat!("../../data/", $dir, "/", $name)),
        }
    };
}

macro_rules! parsed {
    ($dir:literal) => {
        parse(
            Split {
                images: embedded!($dir, "train-images-idx3-ubyte.gz"),
                labels: embedded!($dir, "train-labels-idx1-ubyte.gz"),
            },
            Split {
                images: embedded!($dir, "t10k-images-idx3-ubyte.gz"),
                labels: embedded!($dir, "t10k-labels-idx1-ubyte.gz"),
            },
            Some(embedded!($dir, "classes.txt")),
        )
    };
}

/// The icons: 4,220 training and 1,732 test images of 100 classes, grey, 32 x 32.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) if the embedded files are damaged.
pub fn icons() -> Result<Dataset> {
    load(ICONS, &Settings::default())
}

/// The data set of that name, if it is embedded.
pub(super) fn read(name: &str) -> Option<Result<Parts>> {
    match name {
        ICONS => Some(parsed!("icons")),
        FASHION => Some(parsed!("fashion")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn icons_are_as_described() {
        let data = icons().unwrap();
        assert_eq!((data.train.len(), data.test.len(), data.classes.len()), (4220, 1732, 100));
        for images in [&data.train, &data.test] {
            for i in 0..images.len() {
                let picture = images.picture(i).unwrap();
                assert_eq!((picture.channels, picture.height, picture.width), (1, 32, 32));
            }
        }
        let first = data.train.picture(0).unwrap();
        assert!(first.pixels.contains(&0) && first.pixels.contains(&255));
    }

    /// Figures and hash were taken of the files by a script that shares nothing with this reader.
    #[test]
    fn fashion_is_as_described() {
        let data = load(FASHION, &Settings::default()).unwrap();
        assert_eq!((data.name.as_str(), data.train.len(), data.test.len()), (FASHION, 2000, 2000));
        let text = include_str!("../../data/fashion/classes.txt");
        assert_eq!(data.classes, text.lines().collect::<Vec<_>>());
        assert_eq!((data.classes.len(), data.classes[9].as_str()), (10, "Ankle boot"));
        for images in [&data.train, &data.test] {
            let mut counts = [0; 10];
            images.labels.iter().for_each(|&label| counts[label as usize] += 1);
            assert_eq!(counts, [200; 10]);
        }
        assert_eq!(data.train.labels[..12], [6, 0, 7, 4, 0, 5, 0, 0, 0, 7, 5, 2]);
        assert_eq!(data.test.labels[..12], [1, 6, 4, 3, 5, 6, 9, 3, 8, 7, 2, 8]);
        let first = data.test.picture(0).unwrap();
        assert_eq!((first.channels, first.height, first.width), (1, 28, 28));
        assert_eq!(first.pixels[14 * 28 + 8..][..12], [0, 255, 228, 243, 172, 0, 0, 57, 249, 222, 255, 111]);
        let hash = "3b68c3d788ba976ee9f86e70466969a30eb4646ec5811b2edfc76bf88e30c8b0";
        assert_eq!(data.fingerprint().unwrap(), hash);
    }

    #[test]
    fn other_names_are_not_embedded() {
        for name in ["", "Icons", "fashion-mnist", "data/icons"] {
            assert!(read(name).is_none(), "{name}");
        }
    }
}
