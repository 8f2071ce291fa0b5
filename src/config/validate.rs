//! Which values the settings may have, and which of them a profile would ignore.

use toml::Table;

use super::{Config, Gamma, Pipeline, Profile, Refit};
use crate::{Error, Result};

/// The largest count that a setting may ask for; keeps indices inside the 32 bits of the kernels.
const MAX_COUNT: usize = 1 << 20;

/// The widest noise: the weights of one module then take 256 MiB.
pub const MAX_NOISE_HIDDEN: usize = 1 << 12;

/// The most random features, [`MAX_FEATURES`](crate::model::head::MAX_FEATURES).
pub(super) const MAX_BUFFER: usize = 1 << 15;

/// The most memory that a setting may ask for, 1 PiB in MiB.
const MAX_MEMORY: usize = 1 << 30;

/// The most epochs of a task, whose batches are all drawn before the first.
const MAX_EPOCHS: usize = 10_000;

/// What profile `official` has fixed, and what means nothing without noise.
const OF_PAPER: &[&str] =
    &["phi_layers", "temperature", "mixture", "pipeline", "refit", "eval_noise", "grad_through_analytic"];

/// What else means nothing without noise.
const OF_NOISE: &[&str] = &[
    "noise_hidden",
    "optimizer",
    "lr",
    "momentum",
    "weight_decay",
    "batch_size",
    "epochs",
    "init_epochs",
    "fused_noise",
    "f16_activations",
];

impl Config {
    /// Checks every value by itself and against the profile.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first setting at fault and what it may be.
    pub fn validate(&self) -> Result<()> {
        let mut positive = vec![("lr", self.lr), ("temperature", self.temperature)];
        if let Gamma::Value(gamma) = self.gamma {
            positive.push(("gamma", gamma));
        }
        for (key, value) in positive {
            check((value as f32).is_normal() && value > 0.0, key, value, "a positive number")?;
        }
        check((0.0..1.0).contains(&self.momentum), "momentum", self.momentum, "from 0 to below 1")?;
        let decay = self.weight_decay;
        check((decay as f32).is_finite() && decay >= 0.0, "weight_decay", decay, "0 or a positive number")?;
        for (key, value, least, most) in [
            ("noise_hidden", self.noise_hidden, 1, MAX_NOISE_HIDDEN),
            ("buffer_size", self.buffer_size, 1, MAX_BUFFER),
            ("batch_size", self.batch_size, 1, MAX_COUNT),
            ("fit_batch", self.fit_batch, 1, MAX_COUNT),
            ("epochs", self.epochs, 1, MAX_EPOCHS),
            ("init_epochs", self.init_epochs, 1, MAX_EPOCHS),
            ("init_classes", self.init_classes, 1, MAX_COUNT),
            ("fit_epochs", self.fit_epochs, 0, MAX_EPOCHS),
            ("increment", self.increment, 0, MAX_COUNT),
            ("memory_mib", self.memory_mib, 0, MAX_MEMORY),
        ] {
            check((least..=most).contains(&value), key, value, &format!("from {least} to {most}"))?;
        }
        let first_fit = self.pipeline == Pipeline::ThreeStep || self.refit == Refit::Replace;
        check(
            first_fit,
            "refit",
            "\"accumulate\"",
            "\"replace\" with pipeline = \"two_step\", which has no first fit",
        )?;
        check((1..=2).contains(&self.phi_layers), "phi_layers", self.phi_layers, "1 or 2")?;
        for (key, value) in [("data", &self.data), ("weights", &self.weights)] {
            check(!value.is_empty(), key, "\"\"", "\"icons\" or a path")?;
        }
        self.images.validate()?;
        let default = Self::of(self.profile);
        for (key, changed, beside, given) in [
            ("init_classes", self.init_classes != default.init_classes, "tasks", !self.tasks.as_slice().is_empty()),
            ("increment", self.increment != default.increment, "tasks", !self.tasks.as_slice().is_empty()),
            ("class_seed", self.class_seed != default.class_seed, "class_order", !self.class_order.is_empty()),
        ] {
            if changed && given {
                return Err(Error::Config(format!("`{key}` has no meaning beside `{beside}`; leave one of them out")));
            }
        }
        self.check_profile()
    }

    /// Refuses settings that the profile would ignore.
    fn check_profile(&self) -> Result<()> {
        match self.profile {
            Profile::Paper => {
                self.ignored(&["fit_epochs"], "in profile paper")?;
                let of_noise = if self.noise { Vec::new() } else { [OF_PAPER, OF_NOISE].concat() };
                self.ignored(&of_noise, "with noise = false")
            }
            Profile::Official => self.ignored(&[&["noise"], OF_PAPER].concat(), "in profile official"),
        }
    }

    /// Refuses those of `keys` that are not as the profile has them.
    fn ignored(&self, keys: &[&str], place: &str) -> Result<()> {
        let tables = [self, &Self::of(self.profile)].map(|c| Table::try_from(c).unwrap_or_default());
        for key in keys {
            let [got, only] = [&tables[0], &tables[1]].map(|table| table.get(*key));
            if let (Some(got), Some(only)) = (got, only)
                && got != only
            {
                return Err(Error::Config(format!(
                    "`{key}` = {got} has no meaning {place}; leave it out ({only}), or choose otherwise"
                )));
            }
        }
        Ok(())
    }
}

fn check(holds: bool, key: &str, got: impl std::fmt::Display, expected: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config(format!("`{key}` must be {expected}, got {got}"))) }
}
