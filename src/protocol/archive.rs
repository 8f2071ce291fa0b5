//! Statistics as a file: with the names of their classes, what made their features, and the settings that did.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::config::Config;
use crate::device::{Device, Precision};
use crate::model::fingerprint::Fingerprint;
use crate::model::head::Statistics;
use crate::model::weights::Weights;
use crate::report::replace;
use crate::{Error, Result};

const FORMAT: &str = "minoise statistics 1";
/// Samples of a class are fewer, so that the sum over all classes and files stays an integer.
const MAX_SAMPLES: u64 = 1 << 40;

/// Statistics that can be kept, joined and solved without the data they are of.
///
/// As a safetensors file: `gram` [1, m (m + 1) / 2], the lower triangle of G row after row ([C, m (m + 1) / 2], one of every
/// class, with `keep_class_statistics`), `sums` [C, m] = Q^T, both float64, and `counts`, the samples of each of the C
/// classes; in its metadata `format`, `classes` (the names, a JSON list), `fingerprint` and `config` (JSON).
#[derive(Debug)]
pub struct Archive {
    pub statistics: Statistics,
    /// The class of every row of Q^T. A class is known by its name, in whatever order and file it stands.
    pub classes: Vec<String>,
    pub fingerprint: Fingerprint,
    /// The settings that the features were made with.
    pub config: Config,
}

fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::Unsupported(e.to_string()))
}

/// The bytes of a safetensors file.
pub(super) fn serialize(tensors: &[(&str, Dtype, Vec<usize>, &[u8])], metadata: &[(&str, String)]) -> Result<Vec<u8>> {
    let refused = |e: safetensors::SafeTensorError| Error::Unsupported(e.to_string());
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        Ok((*name, TensorView::new(*dtype, shape.clone(), bytes).map_err(refused)?))
    });
    let metadata: HashMap<_, _> = metadata.iter().map(|(key, text)| (key.to_string(), text.clone())).collect();
    safetensors::serialize(views.collect::<Result<Vec<_>>>()?, Some(metadata)).map_err(refused)
}

impl Archive {
    /// Writes the file; until it is complete, an earlier one stays.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn save(&self, path: &Path) -> Result<()> {
        let (gram, sums) = self.statistics.export().await?;
        let (classes, m) = (self.classes.len(), self.statistics.features());
        let parts = if self.statistics.is_by_class() { classes } else { 1 };
        let counts: Vec<i64> = self.statistics.counts().iter().map(|&n| n as i64).collect();
        let tensors = [
            ("gram", Dtype::F64, vec![parts, m * (m + 1) / 2], bytemuck::cast_slice(&gram)),
            ("sums", Dtype::F64, vec![classes, m], bytemuck::cast_slice(&sums)),
            ("counts", Dtype::I64, vec![classes], bytemuck::cast_slice(&counts)),
        ];
        let mut metadata = self.metadata()?;
        metadata.push(("format", FORMAT.into()));
        replace(path, &serialize(&tensors, &metadata)?)
    }

    /// What the rows of Q^T or W^T mean.
    pub(super) fn metadata(&self) -> Result<Vec<(&'static str, String)>> {
        Ok(vec![
            ("classes", json(&self.classes)?),
            ("fingerprint", json(&self.fingerprint)?),
            ("config", json(&self.config)?),
        ])
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Statistics`] where it holds no statistics or only a part of them.
    pub fn load(path: &Path) -> Result<Self> {
        Self::read(path).map_err(|e| match e {
            Error::Weights { file, message } => Error::Statistics { file, message },
            Error::Shape { .. } | Error::Limit { .. } | Error::Config(_) => {
                Error::Statistics { file: path.display().to_string(), message: e.to_string() }
            }
            e => e,
        })
    }

    fn read(path: &Path) -> Result<Self> {
        let mut tensors = Weights::read(path)?;
        let text = |key: &str| {
            let text = tensors.metadata.get(key);
            text.cloned().ok_or_else(|| tensors.error(format!("its metadata lacks `{key}`: no file of statistics")))
        };
        let bad = |key: &str, e: serde_json::Error| tensors.error(format!("its `{key}` is not understood: {e}"));
        let format = text("format")?;
        if format != FORMAT {
            return Err(tensors.error(format!("its format is `{format}`, this version reads `{FORMAT}`")));
        }
        let classes: Vec<String> = serde_json::from_str(&text("classes")?).map_err(|e| bad("classes", e))?;
        let fingerprint = serde_json::from_str(&text("fingerprint")?).map_err(|e| bad("fingerprint", e))?;
        let config: Config = serde_json::from_str(&text("config")?).map_err(|e| bad("config", e))?;
        config.validate()?;
        let mut known = HashSet::new();
        if let Some(twice) = classes.iter().find(|name| !known.insert(*name)) {
            return Err(tensors.error(format!("class `{twice}` stands in it twice")));
        }
        tensors.finite()?;
        let m = config.buffer_size;
        let counts: Vec<u64> = tensors.integers("counts", MAX_SAMPLES)?.into_iter().map(|n| n as u64).collect();
        tensors.take("counts", &[classes.len()])?;
        let sums = tensors.take("sums", &[classes.len(), m])?;
        let by_class = config.keep_class_statistics;
        let gram = tensors.take("gram", &[if by_class { classes.len() } else { 1 }, m * (m + 1) / 2])?;
        tensors.finish()?;
        let mut statistics =
            if by_class { Statistics::by_class(m)? } else { Statistics::new(&Device::cpu(Precision::F32), m)? };
        statistics.import(counts, &gram, &sums)?;
        Ok(Self { statistics, classes, fingerprint, config })
    }

    /// Adds the statistics of other samples, of the same classes or of others: the classifier of the union then comes
    /// out of [`Statistics::solve`], exactly. Samples that are in both count twice.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where the features of the two were not made by the same network.
    pub async fn merge(&mut self, other: &Self) -> Result<()> {
        if let Some((part, same)) = self.fingerprint.difference(&other.fingerprint) {
            return Err(Error::Mismatch { part, same });
        }
        let rows: Vec<usize> = other.classes.iter().map(|name| self.row(name)).collect();
        self.statistics.widen(self.classes.len())?;
        self.statistics.merge(&other.statistics, &rows).await
    }

    /// Takes a class out, as if none of its samples had ever been seen.
    ///
    /// # Errors
    /// [`Error::Config`] where the class is unknown; [`Error::Unsupported`] where classes have no statistics of their own.
    pub fn forget(&mut self, name: &str) -> Result<()> {
        let row = self.classes.iter().position(|known| known == name);
        let row = row.ok_or_else(|| {
            let near = self.classes.iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
            let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            Error::Config(format!("--class: no class is called `{name}`{near}"))
        })?;
        self.statistics.forget(row)?;
        self.classes.remove(row);
        Ok(())
    }

    /// The row of a class, a new one where it has none.
    fn row(&mut self, name: &str) -> usize {
        self.classes.iter().position(|known| known == name).unwrap_or_else(|| {
            self.classes.push(name.into());
            self.classes.len() - 1
        })
    }
}

impl std::fmt::Display for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let samples: u64 = self.statistics.counts().iter().sum();
        write!(f, "{samples} samples of {} classes, m = {}", self.classes.len(), self.statistics.features())
    }
}
