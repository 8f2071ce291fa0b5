//! What a backbone sees of a picture, plain or changed at random.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::transform::{Filter, Window, brighten, flip, pad, resize, resized_size};
use super::{Fit, Picture, Settings};
use crate::Result;

/// Width by height of a random crop lies between 1 / `RATIO` and `RATIO`.
const RATIO: f64 = 4.0 / 3.0;
/// Crops that are drawn until one lies in the picture.
const ATTEMPTS: usize = 10;
/// Streams of the run's seed from here on are those of augmentation.
const AUGMENTATION: u64 = 1 << 63;

/// A random change of one image: the same for the same three numbers, whoever makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Seed of the run.
    pub seed: u64,
    /// The pass over the images; below 2^31.
    pub epoch: u32,
    /// The image, by its place in its source.
    pub sample: u32,
}

/// Pictures of any size become squares of `side` pixels in `channels` channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    channels: usize,
    side: usize,
    /// Side of the square that the middle is taken of.
    resized: usize,
    fit: Fit,
    /// Least share of the area that a random crop takes.
    crop_scale: f64,
    /// Most that the brightness changes at random.
    brightness: f64,
}

/// The plain view, on which features depend.
impl std::fmt::Display for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let &Self { channels, side, resized, fit, .. } = self;
        match fit {
            Fit::Crop => write!(f, "{channels} x {side} x {side}, the middle of {resized} x {resized}"),
            Fit::Pad => write!(f, "{channels} x {side} x {side}, padded"),
        }
    }
}

impl View {
    /// `channels` is 1 or 3.
    pub fn new(settings: &Settings, channels: usize, side: usize) -> Self {
        // As timm rounds: 224 / 0.875 = 256.
        let resized = (side as f64 / settings.crop_pct) as usize;
        let Settings { fit, crop_scale, brightness, .. } = *settings;
        Self { channels, side, resized: resized.max(side), fit, crop_scale, brightness }
    }

    /// Channels, rows and columns of what is seen.
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.side, self.side]
    }

    /// For the test and for plain passes: see [`Fit`].
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) where [`Fit::Pad`] meets a larger picture.
    pub fn plain(&self, picture: Picture) -> Result<Picture> {
        let picture = picture.with_channels(self.channels);
        let size = [picture.height, picture.width];
        if size == [self.side; 2] {
            return Ok(picture);
        }
        if self.fit == Fit::Pad {
            return pad(&picture, self.side);
        }
        let size = resized_size(size, self.resized);
        resize(&picture, Window::whole(&picture), size, Window::centre(size, self.side), Filter::Bicubic)
    }

    /// For training: a random crop resized to the square that the middle is taken of (bilinear), flipped half of the time,
    /// made darker or brighter.
    ///
    /// # Errors
    /// As [`plain`](Self::plain).
    pub fn changed(&self, picture: Picture, change: Change) -> Result<Picture> {
        let mut rng = ChaCha8Rng::seed_from_u64(change.seed);
        rng.set_stream(AUGMENTATION | u64::from(change.epoch) << 32 | u64::from(change.sample));
        let mut picture = picture.with_channels(self.channels);
        if self.fit == Fit::Pad {
            picture = pad(&picture, self.side)?;
        }
        let window = random_crop([picture.height, picture.width], self.crop_scale, &mut rng);
        let size = [self.resized; 2];
        let mut seen = resize(&picture, window, size, Window::centre(size, self.side), Filter::Bilinear)?;
        if rng.random_bool(0.5) {
            flip(&mut seen);
        }
        if self.brightness > 0.0 {
            let factor = rng.random_range(1.0 - self.brightness..=1.0 + self.brightness);
            brighten(&mut seen, factor as f32);
        }
        Ok(seen)
    }
}

/// A crop of random area, at least `scale` of all, of random shape, at a random place; where none is found, the largest in
/// the middle.
///
/// Source: torchvision, `RandomResizedCrop.get_params`.
fn random_crop([height, width]: [usize; 2], scale: f64, rng: &mut ChaCha8Rng) -> Window {
    let (h, w) = (height as f64, width as f64);
    for _ in 0..ATTEMPTS {
        let area = h * w * rng.random_range(scale..=1.0);
        let ratio = rng.random_range(-RATIO.ln()..=RATIO.ln()).exp();
        let wide = (area * ratio).sqrt().round_ties_even() as usize;
        let high = (area / ratio).sqrt().round_ties_even() as usize;
        if (1..=width).contains(&wide) && (1..=height).contains(&high) {
            let (top, left) = (rng.random_range(0..=height - high), rng.random_range(0..=width - wide));
            return Window { top, left, height: high, width: wide };
        }
    }
    let wide = if w > h * RATIO { (h * RATIO).round_ties_even() as usize } else { width };
    let high = if h > w * RATIO { (w * RATIO).round_ties_even() as usize } else { height };
    Window { top: (height - high) / 2, left: (width - wide) / 2, height: high, width: wide }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(height: usize, width: usize) -> Picture {
        let pixels = (0..height * width * 3).map(|i| (i * 37 % 256) as u8).collect();
        Picture { width, height, channels: 3, pixels }
    }

    #[test]
    fn a_plain_view_is_the_middle_of_the_resized() {
        let view = View::new(&Settings::default(), 1, 56);
        assert_eq!((view.resized, view.shape()), (64, [1, 56, 56]));
        assert_eq!(view.plain(ramp(150, 201)).unwrap().pixels.len(), 56 * 56);
        // Of the right size already.
        let exact = ramp(56, 56);
        assert_eq!(view.plain(exact.clone()).unwrap(), exact.with_channels(1));
        // Thinner than any square, and with no crop at all.
        let whole = View::new(&Settings { crop_pct: 1.0, ..Settings::default() }, 3, 32);
        assert_eq!(whole.plain(ramp(1, 4000)).unwrap().pixels.len(), 3 * 32 * 32);
        let padded = View::new(&Settings { fit: Fit::Pad, ..Settings::default() }, 3, 32);
        assert_eq!(padded.plain(ramp(28, 28)).unwrap().pixels[..96], [0; 96]);
        assert!(padded.plain(ramp(33, 28)).is_err());
    }

    #[test]
    fn changes_depend_on_seed_epoch_and_sample_alone() {
        let view = View::new(&Settings { augment: true, ..Settings::default() }, 3, 24);
        let change = Change { seed: 3, epoch: 1, sample: 5 };
        let seen = |change| view.changed(ramp(40, 50), change).unwrap();
        assert_eq!(seen(change), seen(change));
        for other in [Change { seed: 4, ..change }, Change { epoch: 2, ..change }, Change { sample: 6, ..change }] {
            assert_ne!(seen(other), seen(change));
        }
    }

    /// Area and shape of crops follow their ranges; their corners reach the borders.
    #[test]
    fn crops_are_spread_as_said() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let crops: Vec<_> = (0..2000).map(|_| random_crop([300, 400], 0.08, &mut rng)).collect();
        let shares: Vec<_> = crops.iter().map(|c| (c.height * c.width) as f64 / 120_000.0).collect();
        let mean = shares.iter().sum::<f64>() / 2000.0;
        // Large crops of the wrong shape do not fit and are drawn again, so that the mean stays below (0.08 + 1) / 2.
        assert!(shares.iter().all(|s| (0.075..=1.0).contains(s)) && (0.40..0.54).contains(&mean), "{mean}");
        for c in &crops {
            let ratio = c.width as f64 / c.height as f64;
            assert!((0.73..1.37).contains(&ratio), "{c:?}");
            assert!(c.top + c.height <= 300 && c.left + c.width <= 400);
        }
        assert!(crops.iter().any(|c| c.top == 0) && crops.iter().any(|c| c.left + c.width == 400));
        let thin = random_crop([10, 1000], 1.0, &mut rng);
        assert_eq!(thin, Window { top: 0, left: 493, height: 10, width: 13 });
    }
}
