//! The settings of a run that concern its images.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What becomes of an image that has not the size of the backbone's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Its shorter side is resized (bicubic) to the backbone's side / `crop_pct`, and the middle is taken. An image that has
    /// the right size already is taken as it is.
    Crop,
    /// It stands in the middle of a black square; larger ones are refused.
    Pad,
}

/// Which images there are, and how a backbone sees them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The share of every class that is for the test, where the data do not say what is.
    pub test_share: f64,
    /// The share of every class's training images that is held out. The run is then judged on these instead of the test
    /// images, so that settings can be chosen without looking at the test.
    pub holdout: f64,
    /// Training images of every class at most; 0: all.
    pub train_per_class: usize,
    /// Test images of every class at most; 0: all.
    pub test_per_class: usize,
    /// Seed of these choices.
    pub split_seed: u64,
    /// Whether images that cannot be read are left out, and counted; else they are an error.
    pub skip_bad: bool,
    /// Side of the images in pixels; 0: that of the backbone.
    pub image_size: usize,
    /// What becomes of images of other sizes.
    pub fit: Fit,
    /// The share of the resized image's shorter side that the backbone sees.
    pub crop_pct: f64,
    /// Whether training images are cropped, flipped and brightened at random.
    pub augment: bool,
    /// Least share of the area that a random crop takes.
    pub crop_scale: f64,
    /// Most that the brightness changes at random, as a share; 63 / 255 where others say 63.
    pub brightness: f64,
    /// Decoded images that are kept, in MiB.
    pub image_cache_mib: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            test_share: 0.0,
            holdout: 0.0,
            train_per_class: 0,
            test_per_class: 0,
            split_seed: 0,
            skip_bad: false,
            image_size: 0,
            fit: Fit::Crop,
            crop_pct: 0.875,
            augment: false,
            crop_scale: 0.08,
            brightness: 0.247,
            image_cache_mib: 512,
        }
    }
}

impl Settings {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first at fault and what it may be.
    pub fn validate(&self) -> Result<()> {
        let check = |holds: bool, key: &str, got: &dyn std::fmt::Display, expected: &str| {
            if holds { Ok(()) } else { Err(Error::Config(format!("`{key}` must be {expected}, got {got}"))) }
        };
        for (key, share) in [("test_share", self.test_share), ("holdout", self.holdout)] {
            check((0.0..1.0).contains(&share), key, &share, "from 0 to below 1")?;
        }
        for (key, share) in [("crop_pct", self.crop_pct), ("crop_scale", self.crop_scale)] {
            check((0.01..=1.0).contains(&share), key, &share, "from 0.01 to 1")?;
        }
        check((0.0..=1.0).contains(&self.brightness), "brightness", &self.brightness, "from 0 to 1")?;
        check(self.image_size <= 1 << 14, "image_size", &self.image_size, "from 0 to 16384")?;
        check(self.image_cache_mib <= 1 << 20, "image_cache_mib", &self.image_cache_mib, "from 0 to 1048576")?;
        let default = Self::default();
        for (key, changed) in [
            ("crop_scale", self.crop_scale != default.crop_scale),
            ("brightness", self.brightness != default.brightness),
        ] {
            if changed && !self.augment {
                return Err(Error::Config(format!("`{key}` has no meaning without augment = true")));
            }
        }
        Ok(())
    }
}
