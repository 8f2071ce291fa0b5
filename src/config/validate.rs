//! Which values the settings may have, and which of them a profile would ignore.

use toml::Table;

use super::load::flat;
use super::{Config, Gamma, Method, Pipeline, Profile, Refit, word};
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
pub(super) const MAX_EPOCHS: usize = 10_000;

/// What profiles `official` and `robust` have fixed, and what means nothing without noise.
const OF_STEPS: &[&str] = &["pipeline", "refit", "eval_noise"];

/// What else profile `official` has fixed, and what means nothing without noise.
const OF_MIXTURE: &[&str] = &["phi_layers", "temperature", "mixture", "grad_through_analytic"];

/// What else means nothing without noise.
const OF_NOISE: &[&str] = &["noise_hidden", "lr", "epochs", "init_epochs", "fused_noise"];

/// What means nothing where nothing is trained.
const OF_TRAINING: &[&str] = &["optimizer", "momentum", "weight_decay", "batch_size", "f16_activations"];

/// Profile `robust` and the rivals keep features of a task's images, which must therefore stay the same.
const OF_AUGMENTATION: &[&str] = &["augment"];

/// What methods use of these that train by SGD.
const BY_SGD: &[&str] =
    &["lr", "epochs", "init_epochs", "momentum", "weight_decay", "batch_size", "f16_activations", "augment"];

/// What else belongs to MiN.
const OF_MIN: &[&str] = &["profile", "noise", "fit_epochs", "buffer_size", "gamma", "keep_class_statistics"];

/// Tables of settings, and the methods that they are of; profiles look after that of MiN themselves.
const TABLES: &[(&str, Method)] = &[
    ("robust", Method::Min),
    ("ranpac", Method::RanPac),
    ("fecam", Method::FeCam),
    ("acil", Method::Acil),
    ("dsal", Method::DsAl),
    ("aper", Method::Aper),
    ("ease", Method::Ease),
    ("l2p", Method::L2p),
    ("dualprompt", Method::DualPrompt),
    ("coda", Method::Coda),
    ("slca", Method::Slca),
];

impl Config {
    /// Checks every value by itself and against method and profile.
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
        check(i64::try_from(self.seed).is_ok(), "seed", self.seed, "from 0 to 2^63 - 1, the largest integer of TOML")?;
        let first_fit = self.pipeline == Pipeline::ThreeStep || self.refit == Refit::Replace;
        check(
            first_fit,
            "refit",
            "\"accumulate\"",
            "\"replace\" with pipeline = \"two_step\", which has no first fit",
        )?;
        check((1..=2).contains(&self.phi_layers), "phi_layers", self.phi_layers, "1 or 2")?;
        for (key, value, embedded) in
            [("data", &self.data, "\"icons\", \"fashion\""), ("weights", &self.weights, "\"icons\"")]
        {
            check(!value.is_empty(), key, "\"\"", &format!("{embedded} or a path"))?;
        }
        self.images.validate()?;
        self.robust.validate()?;
        self.ranpac.validate()?;
        self.fecam.validate()?;
        self.acil.validate()?;
        self.dsal.validate()?;
        self.aper.validate()?;
        self.ease.validate()?;
        self.l2p.validate()?;
        self.dualprompt.validate()?;
        self.coda.validate()?;
        self.slca.validate()?;
        let default = self.defaults();
        for (key, changed, beside, given) in [
            ("init_classes", self.init_classes != default.init_classes, "tasks", !self.tasks.as_slice().is_empty()),
            ("increment", self.increment != default.increment, "tasks", !self.tasks.as_slice().is_empty()),
            ("class_seed", self.class_seed != default.class_seed, "class_order", !self.class_order.is_empty()),
        ] {
            if changed && given {
                return Err(Error::Config(format!("`{key}` has no meaning beside `{beside}`; leave one of them out")));
            }
        }
        self.check_method()
    }

    /// Refuses settings that the method would ignore.
    fn check_method(&self) -> Result<()> {
        let place = format!("in method {}", word(self.method));
        for (table, _) in TABLES.iter().filter(|(_, method)| *method != self.method) {
            self.ignored_table(table, &place)?;
        }
        if self.method == Method::Min {
            return self.check_profile();
        }
        let of_min = [OF_MIN, OF_STEPS, OF_MIXTURE, OF_NOISE, OF_TRAINING, OF_AUGMENTATION].concat();
        let used: &[&str] = match self.method {
            // The order of its images is all that it has of training.
            Method::DsAl => &["batch_size"],
            // By Adam without weight decay.
            Method::L2p | Method::DualPrompt | Method::Coda => {
                &["lr", "epochs", "init_epochs", "batch_size", "f16_activations", "augment"]
            }
            // By SGD.
            Method::Aper | Method::Ease | Method::Slca => BY_SGD,
            Method::RanPac if self.ranpac.adapters => BY_SGD,
            _ => &[],
        };
        // What is trained is not kept in halves.
        if self.method == Method::Slca {
            self.ignored(&["f16_weights"], &place)?;
        }
        let of_min: Vec<&str> = of_min.into_iter().filter(|key| !used.contains(key)).collect();
        self.ignored(&of_min, &place)
    }

    /// Refuses settings that the profile would ignore.
    fn check_profile(&self) -> Result<()> {
        let place = format!("in profile {}", word(self.profile));
        let without = [OF_STEPS, OF_MIXTURE, OF_NOISE].concat();
        match self.profile {
            Profile::Paper => {
                self.ignored(&["fit_epochs"], &place)?;
                let of_noise = if self.noise { Vec::new() } else { [&without, OF_TRAINING].concat() };
                self.ignored(&of_noise, "with noise = false")?;
            }
            Profile::Official => self.ignored(&[&["noise"], OF_STEPS, OF_MIXTURE].concat(), &place)?,
            Profile::Robust => {
                self.ignored(&[&["fit_epochs"], OF_STEPS, OF_AUGMENTATION].concat(), &place)?;
                let robust = &self.robust;
                if !self.noise {
                    let of_noise = ["robust.scale_free", "robust.calibrate", "robust.compensation"];
                    self.ignored(&[&without, &of_noise[..]].concat(), "with noise = false")?;
                }
                if robust.adapt_epochs == 0 {
                    self.ignored(&["robust.adapt_lr"], "with robust.adapt_epochs = 0")?;
                    if !self.noise {
                        self.ignored(&[OF_TRAINING, &["robust.rotation"]].concat(), "where nothing is trained")?;
                    }
                }
                return Ok(());
            }
        }
        self.ignored_table("robust", &place)
    }

    /// Refuses a table of settings that is not as it is by default.
    fn ignored_table(&self, table: &str, place: &str) -> Result<()> {
        let all = flat(Table::try_from(self).unwrap_or_default());
        let inside = |key: &&str| key.split_once('.').is_some_and(|(name, _)| name == table);
        self.ignored(&all.keys().map(String::as_str).filter(inside).collect::<Vec<_>>(), place)
    }

    /// Refuses those of `keys` that are not as method and profile have them.
    fn ignored(&self, keys: &[&str], place: &str) -> Result<()> {
        let tables = [self, &self.defaults()].map(|c| flat(Table::try_from(c).unwrap_or_default()));
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

pub(super) fn check(holds: bool, key: &str, got: impl std::fmt::Display, expected: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config(format!("`{key}` must be {expected}, got {got}"))) }
}
