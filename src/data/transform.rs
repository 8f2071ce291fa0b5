//! From a picture of any size to the square that a backbone takes, equal to Pillow and torchvision to 1 of 255.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use super::picture::Picture;
use crate::{Error, Result};

/// How a resized pixel weighs those that it comes from; both widen where an image shrinks (antialiasing).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// A triangle.
    Bilinear,
    /// Keys' cubic with a = -1/2.
    Bicubic,
}

/// A part of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first row.
    pub top: usize,
    /// The first column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Window {
    /// All of a picture.
    pub fn whole(picture: &Picture) -> Self {
        Self { top: 0, left: 0, height: picture.height, width: picture.width }
    }

    /// The middle of a picture of `size` (height, width): `size` less `side`, halved, and a half rounded to even.
    pub fn centre([height, width]: [usize; 2], side: usize) -> Self {
        let start = |length: usize| {
            let spare = length - side;
            spare / 2 + usize::from(spare % 4 == 3)
        };
        Self { top: start(height), left: start(width), height: side, width: side }
    }
}

/// Height and width of a picture whose shorter side becomes `side`; the longer one is rounded down.
pub fn resized_size([height, width]: [usize; 2], side: usize) -> [usize; 2] {
    let scaled = |longer: usize, shorter: usize| {
        usize::try_from(side as u64 * longer as u64 / shorter as u64).unwrap_or(usize::MAX)
    };
    if height <= width { [side, scaled(width, height)] } else { [scaled(height, width), side] }
}

/// Resizes the `window` of a picture to `size` (height, width), and gives the part `out` of the result.
///
/// What lies outside the window has no influence.
///
/// # Errors
/// [`Error::Shape`] where the window does not lie in the picture, `out` not in the result, or either is empty.
pub fn resize(picture: &Picture, window: Window, size: [usize; 2], out: Window, filter: Filter) -> Result<Picture> {
    let inside = |w: Window, [height, width]: [usize; 2]| {
        let fits = |start: usize, length: usize, end: usize| length > 0 && start <= end && length <= end - start;
        fits(w.top, w.height, height) && fits(w.left, w.width, width)
    };
    let refused = |arg, got: Window, within| Error::shape("resize", arg, format_args!("inside {within:?}"), got);
    if !inside(window, [picture.height, picture.width]) {
        return Err(refused("window", window, [picture.height, picture.width]));
    }
    if !inside(out, size) {
        return Err(refused("out", out, size));
    }
    // One way for each number of channels: the crate's own choice would compile every kind of pixel there is.
    match picture.channels {
        1 => resized::<U8>(picture, window, size, out, filter),
        _ => resized::<U8x3>(picture, window, size, out, filter),
    }
}

fn resized<P: PixelTrait>(
    picture: &Picture,
    window: Window,
    size: [usize; 2],
    out: Window,
    filter: Filter,
) -> Result<Picture> {
    let radius = match filter {
        Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
    };
    // Pillow resizes along the rows first, and rounds and clips to bytes in between; along the columns only what is shown.
    let (x, w) = span(out.left, out.width, window.width, size[1]);
    let (y, h) = span(out.top, out.height, window.height, size[0]);
    let reach = radius * (window.height as f64 / size[0] as f64).max(1.0) + 1.0;
    let first = (y - reach).floor().max(0.0);
    let rows = (y + h + reach).ceil().min(window.height as f64) - first;
    let between = pass::<P>(picture, window, [rows as usize, out.width], [x, first, w, rows], filter)?;
    let y = y - first;
    let part = [0.0, y, out.width as f64, h.min(rows - y)];
    pass::<P>(&between, Window::whole(&between), [out.height, out.width], part, filter)
}

/// Where `length` pixels from `start` on lie in a window of `from` pixels that becomes one of `to`: start and length.
fn span(start: usize, length: usize, from: usize, to: usize) -> (f64, f64) {
    let scale = from as f64 / to as f64;
    let x = start as f64 * scale;
    // Rounding may put the end beyond the last pixel.
    (x, (length as f64 * scale).min(from as f64 - x))
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Unsupported(format!("resizing a picture: {error}"))
}

/// Resizes the part `[x, y, w, h]` of a window. Pixels of the window beside the part still weigh in.
fn pass<P: PixelTrait>(
    picture: &Picture,
    window: Window,
    [height, width]: [usize; 2],
    [x, y, w, h]: [f64; 4],
    filter: Filter,
) -> Result<Picture> {
    let whole = TypedImageRef::<P>::from_buffer(picture.width as u32, picture.height as u32, &picture.pixels);
    let Window { top, left, height: rows, width: cols } = window;
    let source = TypedCroppedImage::new(whole.map_err(failed)?, left as u32, top as u32, cols as u32, rows as u32);
    let filter = match filter {
        Filter::Bilinear => FilterType::Bilinear,
        Filter::Bicubic => FilterType::CatmullRom,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).crop(x, y, w, h);
    let mut pixels = vec![0; height * width * picture.channels];
    let mut result = TypedImage::<P>::from_buffer(width as u32, height as u32, &mut pixels).map_err(failed)?;
    Resizer::new().resize_typed(&source.map_err(failed)?, &mut result, &options).map_err(failed)?;
    Ok(Picture { width, height, channels: picture.channels, pixels })
}

/// A picture in the middle of a black square.
///
/// # Errors
/// [`Error::Shape`] where it is larger than the square.
pub fn pad(picture: &Picture, side: usize) -> Result<Picture> {
    let (height, width, channels) = (picture.height, picture.width, picture.channels);
    if height > side || width > side {
        return Err(Error::shape("pad", "picture", format_args!("at most [{side}, {side}]"), [height, width]));
    }
    let mut pixels = vec![0; side * side * channels];
    let (top, left) = ((side - height) / 2, (side - width) / 2);
    for (row, line) in picture.pixels.chunks_exact(width * channels).enumerate() {
        pixels[((top + row) * side + left) * channels..][..line.len()].copy_from_slice(line);
    }
    Ok(Picture { width: side, height: side, channels, pixels })
}

/// Left and right exchanged.
pub fn flip(picture: &mut Picture) {
    let channels = picture.channels;
    for line in picture.pixels.chunks_exact_mut(picture.width * channels) {
        line.reverse();
        line.chunks_exact_mut(channels).for_each(<[u8]>::reverse);
    }
}

/// Every value times `factor`, rounded down, 255 at most.
pub fn brighten(picture: &mut Picture, factor: f32) {
    let table: [u8; 256] = std::array::from_fn(|x| (x as f32 * factor) as u8);
    picture.pixels.iter_mut().for_each(|x| *x = table[usize::from(*x)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;
    use serde_json::Value;
    use std::collections::BTreeMap;

    fn picture(file: &SafeTensors, name: &Value) -> Picture {
        let view = file.tensor(name.as_str().unwrap()).unwrap();
        let [height, width, channels] = view.shape().try_into().unwrap();
        Picture { width, height, channels, pixels: view.data().to_vec() }
    }

    /// What Pillow and torchvision made of five images; a grey image must come out as each channel of a colour image does.
    #[test]
    fn transforms_are_those_of_pillow_and_torchvision() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels-tests/golden/transforms.safetensors");
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let case: Value = serde_json::from_str(&header.metadata().as_ref().unwrap()["case"]).unwrap();
        let mut largest: BTreeMap<String, u8> = BTreeMap::new();
        for case in case["cases"].as_array().unwrap() {
            let (source, expected) = (picture(&file, &case["in"]), picture(&file, &case["out"]));
            let n = |key: &str| case[key].as_u64().unwrap() as usize;
            let filter = || match case["filter"].as_str().unwrap() {
                "bicubic" => Filter::Bicubic,
                "bilinear" => Filter::Bilinear,
                other => panic!("{other}"),
            };
            let apply = |mut p: Picture| match case["op"].as_str().unwrap() {
                "resize_center_crop" => {
                    let size = resized_size([p.height, p.width], n("resize"));
                    resize(&p, Window::whole(&p), size, Window::centre(size, n("crop")), filter()).unwrap()
                }
                "resized_crop" => {
                    let window = Window { top: n("top"), left: n("left"), height: n("height"), width: n("width") };
                    let side = n("size");
                    resize(&p, window, [side; 2], Window::centre([side; 2], side), filter()).unwrap()
                }
                "brightness" => {
                    brighten(&mut p, case["factor"].as_f64().unwrap() as f32);
                    p
                }
                "flip" => {
                    flip(&mut p);
                    p
                }
                other => panic!("{other}"),
            };
            let got = apply(source.clone());
            assert_eq!((got.height, got.width), (expected.height, expected.width), "{case}");
            let error = got.pixels.iter().zip(&expected.pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            let op = case["op"].as_str().unwrap();
            assert!(error <= u8::from(op != "flip"), "{case}: {error}");
            let kind = format!("{op} {}", case["filter"].as_str().unwrap_or_default());
            largest.entry(kind).and_modify(|e| *e = error.max(*e)).or_insert(error);
            let green = |p: &Picture| p.pixels.iter().skip(1).step_by(3).copied().collect::<Vec<_>>();
            let grey = apply(Picture { channels: 1, pixels: green(&source), ..source });
            assert_eq!(grey.pixels, green(&got), "{case}");
        }
        println!("largest error of 255: {largest:?}");
        assert_eq!(largest.len(), 5);
    }

    /// Only the part that is shown is computed: it is the same as in the whole.
    #[test]
    fn a_part_is_as_in_the_whole() {
        let pixels = (0..61 * 47 * 3).map(|i: usize| (i * i / 7 % 251) as u8).collect();
        let p = Picture { width: 61, height: 47, channels: 3, pixels };
        for (size, side) in [([90, 117], 64), ([30, 39], 25), ([47, 61], 40)] {
            let part = Window::centre(size, side);
            let window = Window::whole(&p);
            let whole = Window { top: 0, left: 0, height: size[0], width: size[1] };
            let all = resize(&p, window, size, whole, Filter::Bicubic).unwrap();
            let crop = resize(&all, part, [side; 2], Window::centre([side; 2], side), Filter::Bicubic).unwrap();
            let got = resize(&p, window, size, part, Filter::Bicubic).unwrap();
            let error = got.pixels.iter().zip(&crop.pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(error <= 1, "{size:?}: {error}");
        }
    }

    #[test]
    fn a_half_is_rounded_to_even() {
        let starts = [4, 5, 6, 7, 8, 9, 10].map(|length| Window::centre([length, 4], 4).top);
        assert_eq!(starts, [0, 0, 1, 2, 2, 2, 3]);
        assert_eq!(resized_size([375, 500], 256), [256, 341]);
        assert_eq!(resized_size([500, 375], 256), [341, 256]);
    }

    #[test]
    fn padding_keeps_the_middle() {
        let p = Picture { width: 2, height: 1, channels: 1, pixels: vec![7, 9] };
        assert_eq!(pad(&p, 3).unwrap().pixels, [0, 0, 0, 7, 9, 0, 0, 0, 0]);
        assert!(pad(&p, 1).unwrap_err().to_string().contains("at most [1, 1]"));
        let window = Window { top: 0, left: 1, height: 1, width: 2 };
        let error = resize(&p, window, [1, 1], Window::centre([1, 1], 1), Filter::Bilinear).unwrap_err();
        assert!(error.to_string().contains("`window`"), "{error}");
    }
}
