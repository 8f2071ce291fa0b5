//! The embedded data set: 100 concepts drawn by many icon designers (`data/icons/README.md`).

use super::mnist::{File, Split, parse};
use super::{Dataset, ICONS, Parts, Settings};
use crate::Result;

macro_rules! embedded {
    ($name:literal) => {
        File { name: concat!("data/icons/", $name), bytes: include_bytes!(concat!("../../data/icons/", $name)) }
    };
}

/// The icons: 4,220 training and 1,732 test images of 100 classes, grey, 32 x 32.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) if the embedded files are damaged.
pub fn icons() -> Result<Dataset> {
    super::split::divided(ICONS, read()?, &Settings::default())
}

pub(super) fn read() -> Result<Parts> {
    let train =
        Split { images: embedded!("train-images-idx3-ubyte.gz"), labels: embedded!("train-labels-idx1-ubyte.gz") };
    let test = Split { images: embedded!("t10k-images-idx3-ubyte.gz"), labels: embedded!("t10k-labels-idx1-ubyte.gz") };
    parse(train, test, Some(embedded!("classes.txt")))
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
}
