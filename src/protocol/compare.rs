//! Methods beside each other: which settings each of them runs with, and what is there of its runs already.

mod rows;

use std::path::Path;

use toml::{Table, Value};

use crate::config::Config;
use crate::protocol::checkpoint::{is_unfinished, model_file, saved_settings};
use crate::protocol::session::Session;
use crate::report::{Results, Size};
use crate::{Error, Result};

pub use rows::{FLOOR, Row, ablation, methods};

/// The share of the training images that settings are chosen by.
const HOLDOUT: f64 = 0.1;

/// What is tried of a learning rate, relative to the one that there is, which comes first.
const FACTORS: [f64; 3] = [1.0, 1.0 / 3.0, 3.0];

/// What the rows and the seeds say, so that nobody else can.
const FIXED: [&str; 3] = ["profile", "method", "seed"];

/// The key of a setting `key=value`.
fn key(set: &str) -> &str {
    set.split_once('=').map_or(set, |(key, _)| key.trim())
}

/// A row with those of the settings given that suit it.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The row.
    pub row: Row,
    /// Its settings, on top of what was given.
    pub settings: Vec<String>,
    /// What was given and means nothing to it.
    pub left_out: Vec<String>,
}

/// The rows of a comparison, with the settings of each.
#[derive(Debug, Clone)]
pub struct Plan {
    /// In their order.
    pub rows: Vec<Planned>,
    /// What the user should know of the settings given.
    pub notes: Vec<String>,
}

impl Plan {
    /// Gives every row what it understands of the settings of a TOML file and those of `sets` on top of them.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Config`] for a setting that no row understands, and for one that only a row can have.
    pub fn new(rows: &[Row], file: Option<&Path>, sets: &[String]) -> Result<Self> {
        let given = given(file, sets)?;
        let mut planned = Vec::new();
        let mut refused: Vec<Vec<(&str, Option<Error>)>> = vec![Vec::new(); given.len()];
        for row in rows {
            let (plan, left) = Planned::new(*row, &given)?;
            left.into_iter().for_each(|(i, why)| refused[i].push((row.name, why)));
            planned.push(plan);
        }
        let mut notes = Vec::new();
        for (set, by) in given.iter().zip(refused) {
            let everywhere = by.len() == rows.len() && by.iter().all(|(_, why)| why.is_some());
            match by.first() {
                Some((_, Some(why))) if everywhere => return Err(why.clone()),
                Some(_) => {
                    let names: Vec<&str> = by.iter().map(|(name, _)| *name).collect();
                    notes.push(format!("{set} is left out of {}", names.join(", ")));
                }
                None => {}
            }
        }
        Ok(Self { rows: planned, notes })
    }
}

impl Planned {
    /// The row with what it takes of the settings; which ones it does not take, and why: nothing where it has its own.
    fn new(row: Row, given: &[String]) -> Result<(Self, Vec<(usize, Option<Error>)>)> {
        let own: Vec<String> = row.sets.iter().map(|set| set.to_string()).collect();
        let load = |taken: &[usize]| {
            let taken = taken.iter().map(|&i| given[i].clone());
            Config::load(None, None, &taken.chain(own.clone()).collect::<Vec<_>>())
        };
        load(&[])?;
        let has_own = |&i: &usize| own.iter().any(|set| key(set) == key(&given[i]));
        let (overridden, mut left): (Vec<usize>, Vec<usize>) = (0..given.len()).partition(has_own);
        let mut taken = Vec::new();
        if load(&left).is_ok() {
            taken = std::mem::take(&mut left);
        }
        // Some have a meaning only once others are there.
        loop {
            let before = left.len();
            left.retain(|&i| {
                taken.push(i);
                let suits = load(&taken).is_ok();
                if !suits {
                    taken.pop();
                }
                !suits
            });
            if left.len() == before {
                break;
            }
        }
        let why = |i: usize| load(&[&taken[..], &[i]].concat()).err();
        let mut out: Vec<(usize, Option<Error>)> = left.iter().map(|&i| (i, why(i))).collect();
        out.extend(overridden.into_iter().map(|i| (i, None)));
        out.sort_by_key(|(i, _)| *i);
        let left_out = out.iter().map(|&(i, _)| given[i].clone()).collect();
        taken.sort_unstable();
        let settings = taken.into_iter().map(|i| given[i].clone()).chain(own).collect();
        Ok((Self { row, settings, left_out }, out))
    }

    /// The settings of its run of a seed, with some more.
    ///
    /// # Errors
    /// [`Error::Config`] where these do not suit it.
    pub fn config(&self, seed: u64, more: &[String]) -> Result<Config> {
        Config::load(None, None, &[&self.settings[..], &[format!("seed={seed}")], more].concat())
    }

    /// The learning rates that are to be tried, as the setting and its values; nothing where it has none.
    ///
    /// # Errors
    /// [`Error::Config`] where held-out images are what the comparison itself is judged by.
    pub fn rates(&self) -> Result<Option<(&'static str, Vec<f64>)>> {
        let config = self.config(0, &[])?;
        if config.images.holdout > 0.0 {
            return Err(Error::Config("`holdout` is what --trials chooses by; leave one of them out".into()));
        }
        let Some(key) = self.row.rate else { return Ok(None) };
        let value = serde_json::to_value(&config).map_err(|e| Error::Unsupported(e.to_string()))?;
        let rate = value.pointer(&format!("/{}", key.replace('.', "/"))).and_then(|rate| rate.as_f64());
        // A setting that was given may have left nothing to train.
        let open = rate.filter(|rate| self.config(0, &[setting(key, 3.0 * rate)]).is_ok());
        Ok(open.map(|rate| (key, FACTORS.map(|factor| factor * rate).to_vec())))
    }

    /// The settings of a trial: on images that are held out of training, with the first seed.
    ///
    /// # Errors
    /// See [`config`](Self::config).
    pub fn trial(&self, key: &str, rate: f64) -> Result<Config> {
        self.config(0, &[setting(key, rate), setting("holdout", HOLDOUT)])
    }
}

/// A number as a setting.
pub fn setting(key: &str, value: f64) -> String {
    format!("{key}={value:?}")
}

/// What was given as `key=value`, each setting once: those of a file, then those of `sets`, of which the last counts.
fn given(file: Option<&Path>, sets: &[String]) -> Result<Vec<String>> {
    let mut all = file.map(of_file).transpose()?.unwrap_or_default();
    all.retain(|set| !FIXED.contains(&key(set)));
    for set in sets {
        if FIXED.contains(&key(set)) {
            let message = format!("`{}` is what rows and seeds of the table differ by; leave it out", key(set));
            return Err(Error::Config(message));
        }
        all.retain(|other| key(other) != key(set));
        all.push(set.clone());
    }
    Ok(all)
}

/// The settings of a TOML file; those of tables as `table.key`.
fn of_file(file: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::io("read", file, &e))?;
    let table: Table = text.parse().map_err(|e: toml::de::Error| {
        Error::Config(format!("file {} is not TOML: {}", file.display(), e.message().replace('\n', " ")))
    })?;
    let mut all = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) => all.extend(inner.iter().map(|(key, value)| format!("{name}.{key}={value}"))),
            value => all.push(format!("{name}={value}")),
        }
    }
    Ok(all)
}

/// What is there of a run.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A checkpoint, to go on from.
    Begun,
    /// All of it.
    Finished(Box<Results>, Size),
}

/// What is in the directory of the run with these settings, on data of this hash.
///
/// # Errors
/// [`Error::Config`] where it is a run of other settings; [`Error::Store`] where its checkpoint is damaged.
pub fn found(dir: &Path, config: &Config, data: &str) -> Result<Found> {
    let saved = match saved_settings(dir) {
        Err(Error::Io { .. }) => return Ok(Found::Nothing),
        saved => saved?,
    };
    if let Some(key) = difference(&saved, config)? {
        let dir = dir.display();
        return Err(Error::Config(format!("`{key}` has another value in the run in {dir}; choose another --out")));
    }
    if is_unfinished(dir)? {
        return Ok(Found::Begun);
    }
    // Results are written after the checkpoint, and the size after these: going on brings both.
    let (Ok(results), Ok(size)) = (Results::read(dir), Size::read(dir)) else { return Ok(Found::Begun) };
    let whole = results.measured.metrics.per_class.len() == results.classes.len();
    Ok(if whole && results.data == data { Found::Finished(Box::new(results), size) } else { Found::Begun })
}

/// The first setting that two have different values of.
fn difference(a: &Config, b: &Config) -> Result<Option<String>> {
    if a == b {
        return Ok(None);
    }
    let [a, b] = [a, b].map(|config| Table::try_from(config).map_err(|e| Error::Config(e.to_string())));
    let (a, b) = (a?, b?);
    Ok(a.iter().find(|(key, value)| b.get(*key) != Some(value)).map(|(key, _)| key.clone()))
}

impl Session {
    /// What was trained so far, and what the model that was saved last in `dir` takes.
    ///
    /// # Errors
    /// [`Error::Io`] where there is none.
    pub fn size(&self, dir: &Path) -> Result<Size> {
        let file = model_file(dir);
        let stored_bytes = std::fs::metadata(&file).map_err(|e| Error::io("read", &file, &e))?.len();
        Ok(Size { trained: self.learner.trained(), stored_bytes })
    }
}

#[cfg(test)]
mod tests;
