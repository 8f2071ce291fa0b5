//! Maps over the patches of an image, as colours over the image.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};
use plotters::prelude::{RGBColor, ViridisRGB};

use crate::{Error, Result};

/// Pixels along a picture at least: small ones are drawn in larger squares.
const SIDE: usize = 224;
/// White pixels between two pictures.
const GAP: usize = 8;
/// How much of a colour is that of the map.
const SHARE: f64 = 0.5;

/// A PNG file: the image, then the image under each map, from left to right. `pixels` are `[channels, side, side]`, one channel
/// or three. Each group of maps has one scale, from its least to its largest value, in colours from dark blue to yellow
/// (viridis); between the middles of patches values are interpolated.
///
/// # Errors
/// [`Error::Shape`] where a map is no square or the pixels are no such image; [`Error::Unsupported`] where it cannot be
/// written.
pub fn overlays(pixels: &[u8], [channels, side]: [usize; 2], groups: &[Vec<&[f64]>]) -> Result<Vec<u8>> {
    if pixels.len() != channels * side * side || ![1, 3].contains(&channels) || side == 0 {
        return Err(Error::shape("overlay", "pixels", [channels, side, side], [pixels.len()]));
    }
    let zoom = SIDE.div_ceil(side);
    let (drawn, maps) = (side * zoom, groups.iter().map(Vec::len).sum::<usize>());
    let mut picture = RgbImage::from_pixel(((drawn + GAP) * (maps + 1) - GAP) as u32, drawn as u32, Rgb([255; 3]));
    let at = |x: usize, y: usize| {
        let pixel = (y / zoom) * side + x / zoom;
        [0, 1, 2].map(|c| pixels[(c % channels) * side * side + pixel])
    };
    let mut place = 0;
    let mut draw = |colour: &dyn Fn(usize, usize) -> [u8; 3]| {
        for (y, x) in (0..drawn).flat_map(|y| (0..drawn).map(move |x| (y, x))) {
            picture.put_pixel((place + x) as u32, y as u32, Rgb(colour(x, y)));
        }
        place += drawn + GAP;
    };
    draw(&at);
    for group in groups {
        let values = || group.iter().flat_map(|map| map.iter().copied());
        let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
        for map in group {
            let grid = map.len().isqrt();
            if grid == 0 || grid * grid != map.len() {
                return Err(Error::shape("overlay", "map", "a square of patches", [map.len()]));
            }
            draw(&|x, y| {
                let value = interpolated(map, grid, [x, y].map(|p| (p as f64 + 0.5) * grid as f64 / drawn as f64));
                let RGBColor(r, g, b) = ViridisRGB::get_color((value - least) / (most - least).max(f64::MIN_POSITIVE));
                let (own, map) = (at(x, y), [r, g, b]);
                [0, 1, 2].map(|c| (f64::from(own[c]) * (1.0 - SHARE) + f64::from(map[c]) * SHARE).round() as u8)
            });
        }
    }
    let mut file = Cursor::new(Vec::new());
    let written = picture.write_to(&mut file, ImageFormat::Png);
    written.map_err(|e| Error::Unsupported(format!("writing a PNG: {e}")))?;
    Ok(file.into_inner())
}

/// The value at a place measured in patches, bilinear between the middles of patches and level beyond the outermost.
fn interpolated(map: &[f64], grid: usize, place: [f64; 2]) -> f64 {
    let [x, y] = place.map(|p| (p - 0.5).clamp(0.0, (grid - 1) as f64));
    let at = |x: f64, y: f64| map[(y as usize).min(grid - 1) * grid + (x as usize).min(grid - 1)];
    let row = |y: f64| at(x.floor(), y) * (1.0 - x.fract()) + at(x.floor() + 1.0, y) * x.fract();
    row(y.floor()) * (1.0 - y.fract()) + row(y.floor() + 1.0) * y.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_between_patches_are_interpolated() {
        let map = [0.0, 4.0, 8.0, 0.0];
        for (place, want) in [
            ([0.5, 0.5], 0.0),
            ([1.5, 0.5], 4.0),
            ([0.5, 1.5], 8.0),
            ([1.0, 0.5], 2.0),
            ([0.75, 1.0], 3.5),
            ([0.0, 2.0], 8.0),
        ] {
            assert_eq!(interpolated(&map, 2, place), want, "{place:?}");
        }
        assert_eq!(interpolated(&[3.0], 1, [0.9, 0.1]), 3.0);
    }

    /// The image is there as it is, and under the ends of the scale half of it; both maps of a group share the scale.
    #[test]
    fn maps_lie_over_the_image() {
        let pixels = [0, 100, 200, 40];
        let (flat, steep) = ([0.0; 4], [0.0, 0.0, 0.0, 1.0]);
        let png = overlays(&pixels, [1, 2], &[vec![&flat, &steep], vec![&flat]]).unwrap();
        let seen = image::load_from_memory(&png).unwrap().into_rgb8();
        assert_eq!(seen.dimensions(), (224 * 4 + 3 * 8, 224));
        let at = |n: u32, x, y| seen.get_pixel(n * 232 + x, y).0;
        assert_eq!([at(0, 0, 0), at(0, 223, 0), at(0, 0, 223)], [[0; 3], [100; 3], [200; 3]]);
        assert_eq!(seen.get_pixel(226, 0).0, [255; 3]);
        let RGBColor(r, g, b) = ViridisRGB::get_color(0.0);
        let under =
            |own: u8, [r, g, b]: [u8; 3]| [r, g, b].map(|c| ((u16::from(own) + u16::from(c)).div_ceil(2)) as u8);
        assert_eq!([at(1, 223, 223), at(3, 223, 223)], [under(40, [r, g, b]); 2]);
        let RGBColor(r, g, b) = ViridisRGB::get_color(1.0);
        assert_eq!(at(2, 223, 223), under(40, [r, g, b]));
    }

    #[test]
    fn what_is_no_image_or_no_square_is_refused() {
        assert!(overlays(&[0; 4], [3, 2], &[]).is_err());
        assert!(overlays(&[0; 8], [2, 2], &[]).is_err());
        assert!(overlays(&[0; 4], [1, 2], &[vec![&[0.0; 3]]]).is_err());
        assert!(overlays(&[0; 12], [3, 2], &[]).is_ok());
    }
}
