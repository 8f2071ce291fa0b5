//! One decoded image, and the files that it comes from: JPEG, PNG, WebP and BMP, told apart by their first bytes.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::{Error, Result};

/// Pixels of an image at most: what a header announces is allocated before a pixel is read.
const MAX_PIXELS: usize = 1 << 26;
/// Pixels that a byte of a file can hold at most. JPEG: a block of 8 x 8 takes a bit at least. PNG and BMP: deflate makes
/// 1,032 bytes of one, and a byte may hold 8 pixels. WebP has no such limit.
const JPEG_DENSITY: usize = 512;
const DENSITY: usize = 8 * 1032;

/// Eight bits a channel, grey or colour: rows from the top, in each pixel after pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// `[height, width, channels]`.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// The same picture with 1 or 3 channels. Grey is (299 R + 587 G + 114 B) / 1000 in the 16-bit arithmetic of Pillow.
    pub fn with_channels(self, channels: usize) -> Self {
        let pixels = match (self.channels, channels) {
            (1, 3) => self.pixels.iter().flat_map(|&x| [x; 3]).collect(),
            (3, 1) => self.pixels.as_chunks::<3>().0.iter().map(|&rgb| luma(rgb)).collect(),
            _ => return self,
        };
        Self { channels, pixels, ..self }
    }

    /// Channels before rows: `[channels, height, width]`.
    pub fn planes(&self) -> Vec<u8> {
        let channels = self.channels;
        (0..channels).flat_map(|c| self.pixels.iter().skip(c).step_by(channels)).copied().collect()
    }

    /// The opposite of [`planes`](Self::planes).
    pub(super) fn from_planes([channels, height, width]: [usize; 3], planes: &[u8]) -> Self {
        let size = height * width;
        let pixels = (0..size).flat_map(|i| (0..channels).map(move |c| planes[c * size + i])).collect();
        Self { width, height, channels, pixels }
    }
}

fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471 + 0x8000) >> 16) as u8
}

/// Decodes an image file; `file` names it in errors. Palettes become colours, 16 bits are rounded to 8, CMYK becomes RGB,
/// alpha is left aside (as torchvision does). The orientation that a camera notes in EXIF is not applied, nor is it by Pillow's
/// `Image.open` and torchvision's `ImageFolder`.
///
/// # Errors
/// [`Error::Data`] where the bytes are of no known format, damaged or cut off, or announce more than 2^26 pixels.
pub fn decode(file: &str, bytes: &[u8]) -> Result<Picture> {
    if is_jpeg(bytes) { jpeg(file, bytes) } else { other(file, bytes) }
}

/// Height and width as the header of an image file tells them.
///
/// # Errors
/// As [`decode`], so far as the header shows it.
pub fn decode_size(file: &str, bytes: &[u8]) -> Result<[usize; 2]> {
    if is_jpeg(bytes) {
        let decoder = jpeg_decoder(file, bytes)?;
        let (width, height) = decoder.dimensions().unwrap_or_default();
        return Ok([height, width]);
    }
    let (width, height) = reader(file, bytes)?.into_dimensions().map_err(|e| bad(file, e))?;
    Ok([height as usize, width as usize])
}

fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xd8])
}

fn jpeg_decoder<'a>(file: &str, bytes: &'a [u8]) -> Result<JpegDecoder<ZCursor<&'a [u8]>>> {
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), jpeg_options());
    decoder.decode_headers().map_err(|e| bad(file, e))?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    check_size(file, width, height, JPEG_DENSITY.saturating_mul(bytes.len()))?;
    Ok(decoder)
}

/// Strict, as files that are cut off would else be grey below the cut.
fn jpeg_options() -> DecoderOptions {
    DecoderOptions::default().set_strict_mode(true)
}

fn jpeg(file: &str, bytes: &[u8]) -> Result<Picture> {
    let mut decoder = jpeg_decoder(file, bytes)?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (channels, space) = if grey { (1, ColorSpace::Luma) } else { (3, ColorSpace::RGB) };
    decoder.set_options(jpeg_options().jpeg_set_out_colorspace(space));
    let pixels = decoder.decode().map_err(|e| bad(file, e))?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    whole(file, Picture { width, height, channels, pixels })
}

fn reader<'a>(file: &str, bytes: &'a [u8]) -> Result<ImageReader<Cursor<&'a [u8]>>> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| bad(file, e))?;
    match reader.format() {
        Some(ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp) => Ok(reader),
        _ => Err(bad(file, "no JPEG, PNG, WebP or BMP")),
    }
}

fn other(file: &str, bytes: &[u8]) -> Result<Picture> {
    let reader = reader(file, bytes)?;
    let most =
        if reader.format() == Some(ImageFormat::WebP) { MAX_PIXELS } else { DENSITY.saturating_mul(bytes.len()) };
    let decoder = reader.into_decoder().map_err(|e| bad(file, e))?;
    let (width, height) = decoder.dimensions();
    check_size(file, width as usize, height as usize, most)?;
    let image = DynamicImage::from_decoder(decoder).map_err(|e| bad(file, e))?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (channels, pixels) =
        if image.color().has_color() { (3, image.into_rgb8().into_raw()) } else { (1, image.into_luma8().into_raw()) };
    whole(file, Picture { width, height, channels, pixels })
}

/// Refuses sizes that are announced and cannot be there.
fn check_size(file: &str, width: usize, height: usize, most: usize) -> Result<()> {
    match width.checked_mul(height) {
        Some(1..=MAX_PIXELS) if width * height <= most => Ok(()),
        Some(1..=MAX_PIXELS) => Err(bad(file, format!("{width} x {height} pixels do not fit into its bytes"))),
        _ => Err(bad(file, format!("{width} x {height} pixels; from 1 to {MAX_PIXELS} are read"))),
    }
}

/// What later work relies on, whatever a decoder did.
fn whole(file: &str, picture: Picture) -> Result<Picture> {
    if picture.pixels.len() == picture.width * picture.height * picture.channels {
        Ok(picture)
    } else {
        Err(bad(file, "fewer pixels than its header announces"))
    }
}

fn bad(file: &str, message: impl std::fmt::Display) -> Error {
    Error::Data { file: file.into(), message: format!("no readable image: {message}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tests::golden;

    /// Name, and the largest and the mean difference from what Pillow decodes: 0 where nothing is lost; IDCT and colour
    /// conversion round differently; colour at half the resolution is filled in by another filter.
    const FILES: [(&str, u8, f64); 17] = [
        ("jpeg-444", 3, 0.1),
        ("jpeg-progressive", 3, 0.1),
        ("jpeg-rotated", 3, 0.1),
        ("jpeg-grey", 1, 0.1),
        ("jpeg-cmyk", 3, 0.1),
        ("jpeg-420", 6, 0.8),
        ("png-rgb", 0, 0.0),
        ("png-grey", 0, 0.0),
        ("png-palette", 0, 0.0),
        ("png-alpha", 0, 0.0),
        ("png-grey-alpha", 0, 0.0),
        ("png-bits", 0, 0.0),
        ("png-16", 0, 0.0),
        ("bmp-rgb", 0, 0.0),
        ("bmp-palette", 0, 0.0),
        ("webp-lossless", 0, 0.0),
        ("webp-lossy", 1, 0.1),
    ];

    #[test]
    fn files_are_decoded_as_pillow_decodes_them() {
        for (name, most, mean) in FILES {
            let (shape, expected) = golden(&format!("{name}.pixels"));
            let bytes = golden(&format!("{name}.file")).1;
            let picture = decode(name, &bytes).unwrap();
            assert_eq!([picture.height, picture.width, picture.channels], shape[..], "{name}");
            assert_eq!(decode_size(name, &bytes).unwrap(), shape[..2], "{name}");
            let differences: Vec<u8> = picture.pixels.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).collect();
            let largest = *differences.iter().max().unwrap();
            let average = differences.iter().map(|&d| f64::from(d)).sum::<f64>() / differences.len() as f64;
            println!("{name}: {largest} at most, {average:.2} on average");
            assert!(largest <= most && average <= mean, "{name}: {largest} {average}");
        }
    }

    #[test]
    fn damaged_files_are_named() {
        for (name, ..) in FILES {
            let bytes = golden(&format!("{name}.file")).1;
            for cut in [0, 1, 7, bytes.len() / 3, bytes.len() / 2] {
                let text = decode(name, &bytes[..cut]).unwrap_err().to_string();
                assert!(text.contains(name) && text.contains("no readable image"), "{cut}: {text}");
            }
        }
        assert!(decode("x", b"GIF89a").unwrap_err().to_string().contains("no JPEG, PNG, WebP or BMP"));
        // A header that announces more than there is.
        let mut huge = golden("jpeg-444.file").1;
        let at = huge.windows(4).position(|w| w == [0, 17, 0, 22]).unwrap();
        huge[at..at + 4].copy_from_slice(&[0x20, 0, 0x20, 0]);
        assert!(decode("x", &huge).unwrap_err().to_string().contains("do not fit into"));
    }

    #[test]
    fn channels_and_planes_change_as_said() {
        let p = Picture { width: 2, height: 1, channels: 3, pixels: vec![1, 2, 3, 255, 255, 255] };
        assert_eq!(p.planes(), [1, 255, 2, 255, 3, 255]);
        assert_eq!(Picture::from_planes([3, 1, 2], &p.planes()), p);
        let grey = p.clone().with_channels(1);
        // (299 + 2 x 587 + 3 x 114) / 1000 = 1.8
        assert_eq!(grey.pixels, [2, 255]);
        assert_eq!(grey.with_channels(3).pixels, [2, 2, 2, 255, 255, 255]);
        assert_eq!(p.clone().with_channels(3), p);
    }
}
