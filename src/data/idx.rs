//! IDX, the file format of MNIST: a big-endian magic number, one size per dimension, then the bytes.
//!
//! Magic = `00 00 08 d`: unsigned bytes in `d` dimensions. Plain and gzip files are told apart by their first bytes.
//! The parser is strict: the file must hold exactly what its header announces.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use crate::{Error, Result};

/// The images of an IDX file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdxImages {
    /// `[count, height, width]`, row-major.
    pub pixels: Vec<u8>,
    /// The number of images.
    pub count: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
}

/// Parses an IDX file of images (3 dimensions of bytes); `file` is its name in errors.
///
/// # Errors
/// [`Error::Data`] on a wrong magic number, an empty dimension, missing or trailing bytes, or broken gzip.
pub fn parse_images(file: &str, bytes: &[u8]) -> Result<IdxImages> {
    let ([count, height, width], pixels) = parse(file, bytes)?;
    Ok(IdxImages { pixels, count, height, width })
}

/// Parses an IDX file of labels (1 dimension of bytes); `file` is its name in errors.
///
/// # Errors
/// [`Error::Data`] as for [`parse_images`], and on a label that is not below `classes`.
pub fn parse_labels(file: &str, bytes: &[u8], classes: usize) -> Result<Vec<u32>> {
    let ([_], labels) = parse(file, bytes)?;
    if let Some(i) = labels.iter().position(|&label| usize::from(label) >= classes) {
        return Err(bad(
            file,
            format!("label {} of item {i} is not below the number of classes, {classes}", labels[i]),
        ));
    }
    Ok(labels.into_iter().map(u32::from).collect())
}

/// The sizes and the bytes of an IDX file of `D` dimensions.
fn parse<const D: usize>(file: &str, bytes: &[u8]) -> Result<([usize; D], Vec<u8>)> {
    let mut source: Box<dyn Read> = match bytes {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(bytes)),
        _ => Box::new(bytes),
    };
    let mut word = |what: &str| -> Result<u32> {
        let mut word = [0; 4];
        source.read_exact(&mut word).map_err(|e| bad(file, format!("no {what} in the header: {e}")))?;
        Ok(u32::from_be_bytes(word))
    };
    let magic = word("magic number")?;
    let expected = 0x0800 + D as u32;
    if magic != expected {
        return Err(bad(
            file,
            format!("magic number is {magic:#010x}, expected {expected:#010x} (bytes, {D} dimensions)"),
        ));
    }
    let mut sizes = [0; D];
    for (d, size) in sizes.iter_mut().enumerate() {
        *size = word("size")? as usize;
        if *size == 0 {
            return Err(bad(file, format!("dimension {d} is empty")));
        }
    }
    let too_large = || bad(file, format!("the sizes {sizes:?} in the header are too large"));
    let len = sizes.iter().try_fold(1usize, |len, &size| len.checked_mul(size)).ok_or_else(too_large)?;
    let limit = (len as u64).checked_add(1).ok_or_else(too_large)?;
    // One byte more than announced: this sees trailing bytes, and runs gzip to its checksum.
    let mut content = Vec::new();
    source.take(limit).read_to_end(&mut content).map_err(|e| bad(file, format!("unreadable: {e}")))?;
    match content.len() {
        got if got < len => Err(bad(file, format!("truncated: the header announces {len} bytes, the file has {got}"))),
        got if got > len => Err(bad(file, format!("trailing bytes after the {len} that the header announces"))),
        _ => Ok((sizes, content)),
    }
}

fn bad(file: &str, message: String) -> Error {
    Error::Data { file: file.into(), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn idx(magic: u32, sizes: &[u32], content: &[u8]) -> Vec<u8> {
        let mut bytes = magic.to_be_bytes().to_vec();
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes.extend(content);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn refused(bytes: &[u8], words: &str) {
        let error = parse_images("some.idx", bytes).unwrap_err();
        assert!(matches!(error, Error::Data { .. }));
        let text = error.to_string();
        assert!(text.contains("some.idx") && text.contains(words), "{text}");
    }

    #[test]
    fn plain_and_gzip_give_the_same_images() {
        let bytes = idx(0x803, &[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
        let expected = IdxImages { pixels: vec![1, 2, 3, 4, 5, 6], count: 2, height: 1, width: 3 };
        assert_eq!(parse_images("a", &bytes).unwrap(), expected);
        assert_eq!(parse_images("a", &gzip(&bytes)).unwrap(), expected);
    }

    #[test]
    fn labels_are_checked_against_the_classes() {
        let bytes = idx(0x801, &[3], &[0, 4, 2]);
        assert_eq!(parse_labels("a", &bytes, 5).unwrap(), [0, 4, 2]);
        let text = parse_labels("a", &bytes, 4).unwrap_err().to_string();
        assert!(text.contains("label 4 of item 1"), "{text}");
    }

    #[test]
    fn wrong_headers_are_refused() {
        refused(&[], "magic");
        refused(&[0, 0], "magic");
        refused(&idx(0x801, &[1], &[0]), "0x00000801, expected 0x00000803");
        refused(b"<html>not found</html>", "magic number is 0x3c68746d");
        refused(&idx(0x803, &[1, 2], &[]), "no size");
        refused(&idx(0x803, &[1, 0, 2], &[]), "dimension 1 is empty");
        refused(&idx(0x803, &[u32::MAX; 3], &[1, 2]), "too large");
    }

    #[test]
    fn wrong_lengths_are_refused() {
        refused(&idx(0x803, &[2, 1, 3], &[0; 5]), "announces 6 bytes, the file has 5");
        refused(&idx(0x803, &[2, 1, 3], &[0; 7]), "trailing bytes after the 6");
        refused(&gzip(&idx(0x803, &[2, 1, 3], &[0; 5])), "truncated");
        refused(&gzip(&idx(0x803, &[2, 1, 3], &[0; 7])), "trailing");
    }

    #[test]
    fn damaged_gzip_is_refused() {
        let whole = gzip(&idx(0x803, &[2, 1, 3], &[9, 8, 7, 6, 5, 4]));
        for len in 2..whole.len() {
            assert!(parse_images("cut", &whole[..len]).is_err(), "cut to {len} bytes");
        }
        let mut flipped = whole.clone();
        let crc = whole.len() - 6;
        flipped[crc] ^= 1;
        refused(&flipped, "unreadable");
        let mut trailing = whole;
        trailing.extend(b"more");
        assert!(parse_images("trailing", &trailing).is_err());
    }
}
