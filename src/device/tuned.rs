//! Which variant of a kernel an adapter runs fastest: the table that `minoise tune` measures and [`super::Device::open`]
//! looks up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, host};

/// One measured problem and the variant that was fastest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The kernel's name.
    pub kernel: String,
    /// What distinguishes problems besides their size.
    pub class: String,
    /// Its shapes, in the kernel's own order.
    pub size: Vec<usize>,
    /// Name of the fastest variant.
    pub variant: String,
}

/// The choices of one adapter; empty where nothing was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tuned {
    choices: Arc<[Choice]>,
    resident: Option<usize>,
}

#[derive(Serialize, Deserialize)]
struct File {
    /// Of this crate: another version has other variants.
    version: String,
    adapter: String,
    /// Workgroups that the adapter runs at once.
    resident: Option<usize>,
    choices: Vec<Choice>,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Tuned {
    /// A table of these choices, without the number of workgroups that run at once.
    pub fn new(choices: Vec<Choice>) -> Self {
        Self { choices: choices.into(), resident: None }
    }

    /// With the number of workgroups that the adapter runs at once.
    pub fn with_resident(self, resident: usize) -> Self {
        Self { resident: Some(resident), ..self }
    }

    /// That number, where it was measured.
    pub fn resident(&self) -> Option<usize> {
        self.resident
    }

    /// Whether nothing was chosen.
    pub fn is_empty(&self) -> bool {
        self.choices.is_empty()
    }

    /// How many problems of a kernel were measured.
    pub fn measured(&self, kernel: &str) -> usize {
        self.choices.iter().filter(|choice| choice.kernel == kernel).count()
    }

    /// The variant of the nearest measured problem, by the sum of |log2| of the ratios of the sizes; none where a ratio
    /// is above 2, since then nothing is known.
    pub fn variant(&self, kernel: &str, class: &str, size: &[usize]) -> Option<&str> {
        let distance = |choice: &Choice| {
            let same = choice.kernel == kernel && choice.class == class && choice.size.len() == size.len();
            let logs = choice.size.iter().zip(size).map(|(&a, &b)| (a as f64 / b as f64).log2().abs());
            logs.clone().all(|log| same && log <= 1.0).then(|| logs.sum::<f64>())
        };
        let near = self.choices.iter().filter_map(|choice| Some((distance(choice)?, choice)));
        near.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, choice)| choice.variant.as_str())
    }

    /// The table of the adapter with this label (backend, name and driver), as it was saved by this version; empty where
    /// there is none.
    ///
    /// # Errors
    /// [`Error::Data`] where a file is there and is no table, [`Error::Io`] where it cannot be read.
    pub(super) fn of_adapter(label: &str) -> Result<Self> {
        match path_of("tuned", label, "json") {
            Some(path) if path.exists() => Self::load(&path, label),
            _ => Ok(Self::default()),
        }
    }

    fn load(path: &Path, label: &str) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("reading", path, &e))?;
        let file: File = serde_json::from_str(&text).map_err(|e| Error::Data {
            file: path.display().to_string(),
            message: format!("no table of `minoise tune` ({e}); delete it, or tune again"),
        })?;
        let current = file.version == VERSION && file.adapter == label;
        Ok(if current { Self { choices: file.choices.into(), resident: file.resident } } else { Self::default() })
    }

    /// Saves the table for the adapter with this label and returns where.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Unsupported`] where the user has no cache directory.
    pub fn save(&self, label: &str) -> Result<PathBuf> {
        let path = path_of("tuned", label, "json").ok_or_else(|| {
            Error::Unsupported("there is no cache directory to save the table in: set HOME or XDG_CACHE_HOME".into())
        })?;
        self.store(&path, label)?;
        Ok(path)
    }

    fn store(&self, path: &Path, label: &str) -> Result<()> {
        let file = File {
            version: VERSION.into(),
            adapter: label.into(),
            resident: self.resident,
            choices: self.choices.to_vec(),
        };
        let text = serde_json::to_string_pretty(&file).map_err(|e| Error::Unsupported(e.to_string()))?;
        host::replace(path, text.as_bytes()).map_err(|e| Error::io("writing", path, &e))
    }
}

/// `CACHE/minoise/WHAT/LABEL.ENDING`, CACHE the user's directory of cached files.
pub(super) fn path_of(what: &str, label: &str, ending: &str) -> Option<PathBuf> {
    let name: String = label.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    Some(host::cache_dir()?.join(what).join(format!("{name}.{ending}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(size: [usize; 3], variant: &str) -> Choice {
        Choice { kernel: "gemm".into(), class: "NN".into(), size: size.into(), variant: variant.into() }
    }

    #[test]
    fn the_nearest_measured_problem_decides() {
        let tuned = Tuned::new(vec![choice([64, 64, 64], "small"), choice([1024, 64, 64], "tall")]);
        assert_eq!(tuned.variant("gemm", "NN", &[100, 64, 64]), Some("small"));
        assert_eq!(tuned.variant("gemm", "NN", &[600, 50, 128]), Some("tall"));
        assert_eq!(tuned.variant("gemm", "NN", &[256, 64, 64]), None, "four times away from both");
        assert_eq!(tuned.variant("gemm", "NN", &[0, 64, 64]), None);
        assert_eq!(tuned.variant("gemm", "NT", &[64, 64, 64]), None);
        assert_eq!(tuned.variant("other", "NN", &[64, 64, 64]), None);
    }

    #[test]
    fn a_saved_table_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("not/yet/there/a.json");
        let tuned = Tuned::new(vec![choice([64, 64, 64], "small")]).with_resident(80);
        tuned.store(&path, "gpu (driver 2)").unwrap();
        assert_eq!(Tuned::load(&path, "gpu (driver 2)").unwrap(), tuned);
        let blocked = path.join("below a file.json");
        assert!(matches!(tuned.store(&blocked, "gpu"), Err(Error::Io { .. })));
    }

    #[test]
    fn files_of_other_versions_and_drivers_do_not_count_and_broken_ones_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        let write = |version: &str, adapter: &str| {
            let file = File {
                version: version.into(),
                adapter: adapter.into(),
                resident: Some(80),
                choices: vec![choice([1, 2, 3], "x")],
            };
            std::fs::write(&path, serde_json::to_string(&file).unwrap()).unwrap();
            Tuned::load(&path, "gpu (driver 2)").unwrap()
        };
        assert_eq!(write(VERSION, "gpu (driver 2)").variant("gemm", "NN", &[1, 2, 3]), Some("x"));
        assert!(write("0.0.1", "gpu (driver 2)").is_empty());
        assert!(write(VERSION, "gpu (driver 1)").is_empty());
        std::fs::write(&path, "{").unwrap();
        let told = Tuned::load(&path, "gpu").unwrap_err().to_string();
        assert!(told.contains("a.json") && told.contains("tune again"), "{told}");
    }
}
