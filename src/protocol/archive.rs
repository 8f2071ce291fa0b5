//! Statistics as a file: with the names of their classes, what made their features, and the settings that did.

use std::collections::HashSet;
use std::path::Path;

use crate::config::Config;
use crate::device::{Device, Precision};
use crate::model::fingerprint::Fingerprint;
use crate::model::head::Statistics;
use crate::protocol::checkpoint::{open, settings};
use crate::store::{self, Tree};
use crate::{Error, Result};

const KIND: &str = "statistics";

/// Statistics that can be kept, joined and solved without the data they are of.
///
/// As a file: the fields `classes` (their names), `fingerprint` and `config`, and the tensors of
/// [`Statistics::portable_state`] below `statistics`.
#[derive(Debug)]
pub struct Archive {
    /// Sums over all samples, from which a classifier is solved.
    pub statistics: Statistics,
    /// The class of every row of Q^T. A class is known by its name, in whatever order and file it stands.
    pub classes: Vec<String>,
    /// Hashes of what made the features: only equal ones can be joined.
    pub fingerprint: Fingerprint,
    /// The settings that the features were made with.
    pub config: Config,
}

impl Archive {
    /// Writes the file; until it is complete, an earlier one stays.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn save(&self, path: &Path) -> Result<()> {
        let mut tree = Tree::new();
        tree.set("classes", &self.classes)?;
        tree.set("fingerprint", &self.fingerprint)?;
        tree.set("config", &self.config)?;
        tree.graft("statistics", self.statistics.portable_state().await?);
        store::write(path, KIND, &tree)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Store`] where it holds no statistics or only a part of them.
    pub async fn load(path: &Path) -> Result<Self> {
        let mut tree = open(path, KIND)?.read(|_| true)?;
        let config = settings(&mut tree)?;
        let (classes, fingerprint): (Vec<String>, _) = (tree.get("classes")?, tree.get("fingerprint")?);
        let mut known = HashSet::new();
        if let Some(twice) = classes.iter().find(|name| !known.insert(*name)) {
            return Err(tree.error(format!("class `{twice}` stands in it twice")));
        }
        let (device, m) = (Device::cpu(Precision::F32), config.buffer_size);
        // No memory is taken for more than the file holds.
        let wanted = [if config.keep_class_statistics { classes.len() } else { 1 }, m * (m + 1) / 2];
        if tree.shape("statistics/gram")? != wanted {
            let found = tree.shape("statistics/gram")?;
            return Err(tree.error(format!("`gram` has shape {found:?}, its settings and classes need {wanted:?}")));
        }
        let mut statistics = match config.keep_class_statistics {
            true => Statistics::by_class(m)?,
            false => Statistics::new(&device, m)?,
        };
        statistics.restore(&device, tree.prune("statistics")).await?;
        if statistics.counts().len() != classes.len() {
            return Err(tree.error(format!(
                "it has statistics of {} classes and names of {}",
                statistics.counts().len(),
                classes.len()
            )));
        }
        tree.finish()?;
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
