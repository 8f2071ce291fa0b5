//! Arguments that stand for settings, the same in all commands that learn.

use std::path::PathBuf;

use crate::{Error, Result};

/// A file of settings, flags for those that differ from user to user, and single ones.
#[derive(Debug, clap::Args)]
pub(super) struct SettingsArgs {
    /// TOML file of settings.
    #[arg(long, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,
    /// What is learned: a folder or file of images, or embedded data by name (setting `data`).
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    /// The backbone: a file, its folder, hf:OWNER/NAME, or an embedded one by name (setting `weights`).
    #[arg(long, value_name = "FILE")]
    weights: Option<String>,
    /// timm's name of the backbone's architecture, where its file does not tell (setting `arch`).
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// One setting; repeat for more.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl SettingsArgs {
    /// All but the file, as `key=value`.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting given by its flag and by `--set`.
    pub fn sets(&self) -> Result<Vec<String>> {
        let mut sets = self.set.clone();
        for (key, value) in [("data", &self.data), ("weights", &self.weights), ("arch", &self.arch)] {
            let Some(value) = value else { continue };
            if let Some(set) = self.set.iter().find(|set| set.split_once('=').is_some_and(|(k, _)| k.trim() == key)) {
                return Err(Error::Config(format!("`{key}` is given twice: --{key} {value} and --set {set}")));
            }
            sets.push(format!("{key}={}", toml::Value::String(value.clone())));
        }
        Ok(sets)
    }

    /// Whether there is any.
    pub fn given(&self) -> bool {
        let Self { config, data, weights, arch, set } = self;
        config.is_some() || data.is_some() || weights.is_some() || arch.is_some() || !set.is_empty()
    }
}
