//! Settings from files and single values: what is given, on top of the defaults that go with it.

use std::path::Path;

use serde::Serialize;
use toml::{Table, Value};

use super::{Config, Method, Profile};
use crate::data::{FASHION, Fit};
use crate::{Error, Result};

/// Where the setting `data` brings defaults of its own: `init_classes` and `increment` (unless there are `tasks`), and `fit`.
const OF_DATA: &[(&str, usize, Fit)] = &[(FASHION, 2, Fit::Pad)];

impl Config {
    /// The settings of a run: the defaults of the profile, then the TOML `file`, then each `key=value` of `sets`.
    /// `profile` overrides the file's. A value is read as TOML, and as text where it is not TOML. What is not given may
    /// depend on what is: `init_epochs` on `epochs`; `init_classes`, `increment` and `fit` on `data`.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::Config`] naming the key if it is unknown, of the wrong type or
    /// refused by [`validate`](Self::validate), and if `profile` contradicts `sets`.
    pub fn load(profile: Option<Profile>, file: Option<&Path>, sets: &[String]) -> Result<Self> {
        Self::load_method(None, profile, file, sets)
    }

    /// The same where `method` overrides the file's as well.
    ///
    /// # Errors
    /// Those of [`load`](Self::load), for `method` as for `profile`.
    pub fn load_method(
        method: Option<Method>,
        profile: Option<Profile>,
        file: Option<&Path>,
        sets: &[String],
    ) -> Result<Self> {
        let mut given = file.map(read).transpose()?.unwrap_or_default();
        let sets = sets.iter().map(|set| parse_set(set)).collect::<Result<Table>>()?;
        for (key, flag) in [("method", method.map(to_value)), ("profile", profile.map(to_value))] {
            let Some(value) = flag.transpose()? else { continue };
            if let Some(other) = sets.get(key).filter(|&other| *other != value) {
                return Err(Error::Config(format!("`{key}` is given twice: --{key} {value} and --set {key}={other}")));
            }
            given.insert(key.into(), value);
        }
        given.extend(sets);
        Self::from_table(given)
    }

    /// Settings from a file that [`Serialize`] wrote: what is missing has its default, what is unknown is refused by name.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn from_json(value: serde_json::Value) -> Result<Self> {
        let table = Table::try_from(value).map_err(|e| Error::Config(format!("table: {e}")))?;
        Self::from_table(table)
    }

    /// The same settings with some changed, `key=value` each, of which only those in `free` may be.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn changed(&self, sets: &[String], free: &[&str]) -> Result<Self> {
        let mut config = self.clone();
        for set in sets {
            let (key, value) = parse_set(set)?;
            config = config.with(&key, &value)?;
            if !free.contains(&key.as_str()) {
                return Err(Error::Config(format!(
                    "`{key}` is that of the model; here {} may be set",
                    free.join(", ")
                )));
            }
        }
        config.validate()?;
        Ok(config)
    }

    fn from_table(given: Table) -> Result<Self> {
        let given = flat(given);
        let mut config = Self::default();
        if let Some(profile) = given.get("profile") {
            config = Self::of(config.with("profile", profile)?.profile);
        }
        if let Some(method) = given.get("method") {
            config = config.with("method", method)?.defaults();
        }
        for (key, value) in &given {
            config = config.with(key, value)?;
        }
        if !given.contains_key("init_epochs") {
            config.init_epochs = config.epochs;
        }
        if let Some(&(_, classes, fit)) = OF_DATA.iter().find(|(data, ..)| *data == config.data) {
            let sized = !config.tasks.as_slice().is_empty();
            if !sized && !given.contains_key("init_classes") {
                config.init_classes = classes;
            }
            if !sized && !given.contains_key("increment") {
                config.increment = classes;
            }
            if !given.contains_key("fit") {
                config.images.fit = fit;
            }
        }
        config.validate()?;
        Ok(config)
    }

    /// The same settings but for one.
    fn with(&self, key: &str, value: &Value) -> Result<Self> {
        let mut table = flat(Table::try_from(self).map_err(|e| Error::Config(e.to_string()))?);
        if !table.contains_key(key) {
            let known: Vec<&str> = table.keys().map(String::as_str).collect();
            let distance = |name: &&&str| strsim::damerau_levenshtein(name, key);
            let nearest = known.iter().min_by_key(distance).copied().unwrap_or_default();
            return Err(Error::Config(format!(
                "`{key}` is unknown; did you mean `{nearest}`? Settings are {}",
                known.join(", ")
            )));
        }
        table.insert(key.into(), value.clone());
        nested(table)
            .try_into()
            .map_err(|e: toml::de::Error| Error::Config(format!("`{key}` = {value}: {}", e.message())))
    }
}

/// Keys of tables as `table.key`.
pub(super) fn flat(given: Table) -> Table {
    let mut all = Table::new();
    for (name, value) in given {
        match value {
            Value::Table(table) => all.extend(table.into_iter().map(|(key, value)| (format!("{name}.{key}"), value))),
            value => drop(all.insert(name, value)),
        }
    }
    all
}

/// The inverse of [`flat`].
fn nested(flat: Table) -> Table {
    let mut all = Table::new();
    for (key, value) in flat {
        match key.split_once('.') {
            None => drop(all.insert(key, value)),
            Some((table, key)) => {
                let table = all.entry(table).or_insert_with(|| Value::Table(Table::new()));
                table.as_table_mut().map(|table| table.insert(key.into(), value));
            }
        }
    }
    all
}

fn read(file: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::io("read", file, &e))?;
    text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        Error::Config(format!("file {} is not TOML, line {line}: {}", file.display(), e.message().replace('\n', " ")))
    })
}

fn parse_set(set: &str) -> Result<(String, Value)> {
    let (key, value) = set
        .split_once('=')
        .ok_or_else(|| Error::Config(format!("`{set}` has no value; write --set key=value, such as --set lr=0.05")))?;
    let (key, value) = (key.trim(), value.trim());
    Ok((key.into(), value.parse().unwrap_or_else(|_| Value::String(value.into()))))
}

pub(super) fn to_value(choice: impl Serialize) -> Result<Value> {
    Value::try_from(choice).map_err(|e| Error::Config(e.to_string()))
}
