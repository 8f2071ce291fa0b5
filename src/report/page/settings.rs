//! The settings of runs: which differ, and the command that has them again.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::config::{Config, Method, word};
use crate::report::Results;
use crate::{Error, Result};

/// What seeds and rows differ by, and no setting of theirs.
const APART: [&str; 3] = ["method", "profile", "seed"];

/// The settings of a run but its seed, its method and its profile, as `key` and value in TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings(BTreeMap<String, String>);

impl Settings {
    /// # Errors
    /// [`Error::Config`] where they cannot be written.
    pub fn of(config: &Config) -> Result<Self> {
        let table = Table::try_from(config).map_err(|e| Error::Config(e.to_string()))?;
        let mut all = BTreeMap::new();
        for (key, value) in table.into_iter().filter(|(key, _)| !APART.contains(&key.as_str())) {
            match value {
                Value::Table(inner) => all.extend(inner.iter().map(|(k, v)| (format!("{key}.{k}"), written(v)))),
                value => drop(all.insert(key, written(&value))),
            }
        }
        Ok(Self(all))
    }

    /// The value of a setting; nothing where there is none.
    pub fn value(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// A value as `--set` takes it: text as it is where it would not be read as something else.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) if text.parse::<Value>().is_err() && text.trim() == text && !text.is_empty() => {
            text.clone()
        }
        value => value.to_string(),
    }
}

/// The settings that not all have the same value of.
pub(super) fn differing(all: &[&Settings]) -> Vec<String> {
    let keys: BTreeSet<&String> = all.iter().flat_map(|settings| settings.0.keys()).collect();
    let differs = |key: &&String| all.iter().any(|settings| settings.value(key) != all[0].value(key));
    keys.into_iter().filter(differs).cloned().collect()
}

/// What is not as the defaults of the method or profile have it, `key=value` each.
///
/// # Errors
/// See [`Settings::of`].
pub(super) fn changed(config: &Config) -> Result<Vec<String>> {
    let own = Settings::of(config)?;
    // Data bring defaults of their own.
    let data = format!("data={}", own.value("data"));
    let given = [data.clone()];
    let sets = if config.data == Config::default().data { &[][..] } else { &given[..] };
    let (method, profile) = flags(config);
    let Ok(defaults) = Config::load_method(method, profile, None, sets).and_then(|config| Settings::of(&config)) else {
        return Ok(own.iter().map(|(key, value)| format!("{key}={value}")).collect());
    };
    let other = own.iter().filter(|(key, value)| defaults.value(key) != *value);
    Ok(sets.iter().cloned().chain(other.map(|(key, value)| format!("{key}={value}"))).collect())
}

fn flags(config: &Config) -> (Option<Method>, Option<crate::config::Profile>) {
    match config.method {
        Method::Min => (None, Some(config.profile)),
        method => (Some(method), None),
    }
}

/// What repeats a run, for a shell; none where it continued a model, of which it does not know where it is.
///
/// # Errors
/// See [`Settings::of`].
pub(super) fn command(results: &Results) -> Result<Option<String>> {
    if results.known > 0 {
        return Ok(None);
    }
    let config = &results.config;
    let mut words = vec!["minoise".into(), "run".into()];
    words.extend(match flags(config) {
        (Some(method), _) => ["--method".into(), word(method)],
        (None, profile) => ["--profile".into(), profile.map_or(String::new(), word)],
    });
    let device = if results.device.starts_with("cpu") { "cpu" } else { &results.device };
    words.extend(["--device".into(), device.into()]);
    words.extend(["--seed".into(), results.seed.to_string()]);
    words.extend(changed(config)?.into_iter().flat_map(|set| ["--set".into(), set]));
    Ok(Some(words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")))
}

/// A word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a command says leads to the settings that it was made of.
    #[test]
    fn commands_lead_to_the_same_settings() {
        let cases: [&[&str]; 6] = [
            &[],
            &["profile=robust", "robust.adapt_epochs=2", "gamma=3.5"],
            &["data=fashion", "lr=0.03", "momentum=1e-7"],
            &["data=photos/with space", "tasks=[3, 2]", "weights=hf:timm/vit@main", "noise=false"],
            &["method=ranpac", "ranpac.projection=500", "class_order=order 1.txt"],
            &["method=coda", "coda.e_layers=[0, 2]", "epochs=3", "init_epochs=4"],
        ];
        for case in cases {
            let config = Config::load(None, None, &case.iter().map(|set| set.to_string()).collect::<Vec<_>>()).unwrap();
            let (method, profile) = flags(&config);
            let again = Config::load_method(method, profile, None, &changed(&config).unwrap()).unwrap();
            assert_eq!(again, config, "{case:?}");
        }
        assert_eq!(changed(&Config::default()).unwrap(), [""; 0]);
        // No integer of TOML.
        assert!(changed(&Config { seed: u64::MAX, ..Config::default() }).is_err());
        assert_eq!(quoted("a b'c"), r"'a b'\''c'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn settings_differ_by_key() {
        let of = |sets: &[&str]| {
            Settings::of(&Config::load(None, None, &sets.iter().map(|s| s.to_string()).collect::<Vec<_>>()).unwrap())
                .unwrap()
        };
        let (a, b) = (of(&[]), of(&["lr=0.5", "robust.anchor=false", "profile=robust", "seed=3"]));
        assert!(differing(&[&a, &a]).is_empty());
        let keys = differing(&[&a, &b]);
        assert!(["lr", "robust.anchor", "gamma"].iter().all(|key| keys.iter().any(|k| k == key)), "{keys:?}");
        assert!(!keys.iter().any(|key| key == "seed" || key == "profile"));
        assert_eq!((b.value("lr"), b.value("data"), b.value("none")), ("0.5", "icons", ""));
    }
}
