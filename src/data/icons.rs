//! The embedded data set: 100 concepts drawn by many icon designers (`data/icons/README.md`).

use super::folder::{File, Split, from_files};
use super::{Dataset, ICONS};
use crate::Result;

macro_rules! embedded {
    ($name:literal) => {
        File { name: concat!("data/icons/", $name), bytes: include_bytes!(concat!("../../data/icons/", $name)) }
    };
}

/// The icons: 4,220 training and 1,732 test images of 100 classes, grey, 32 x 32, as `(x / 255 - 0.5) / 0.5`.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) if the embedded files are damaged.
pub fn icons() -> Result<Dataset> {
    let train =
        Split { images: embedded!("train-images-idx3-ubyte.gz"), labels: embedded!("train-labels-idx1-ubyte.gz") };
    let test = Split { images: embedded!("t10k-images-idx3-ubyte.gz"), labels: embedded!("t10k-labels-idx1-ubyte.gz") };
    from_files(ICONS, train, test, embedded!("classes.txt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn icons_are_as_described() {
        let data = icons().unwrap();
        assert_eq!((data.train.len(), data.test.len(), data.classes.len()), (4220, 1732, 100));
        for images in [&data.train, &data.test] {
            assert_eq!((images.channels, images.height, images.width), (1, 32, 32));
            assert_eq!(images.pixels.len(), images.len() * images.image_len());
            assert!(images.pixels.iter().all(|x| (-1.0..=1.0).contains(x)));
        }
        assert!(data.train.pixels.contains(&1.0) && data.train.pixels.contains(&-1.0));
    }
}
