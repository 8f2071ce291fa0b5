//! Results as JSON, and how they stand to earlier ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde::{Deserialize, Serialize};

/// So much slower than the baseline is a regression; less is noise on a machine that others use as well.
const SLOWER: f64 = 1.1;

/// What the command of a bench may say.
#[derive(Parser)]
pub struct Arguments {
    /// Times only the ids that this regular expression matches.
    pub filter: Option<String>,
    /// Writes the results to this file, beside those of other ids that it holds already.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Compares with the results in this file; exit code 1 where one is more than 10 % slower.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// From cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One result. Operations and bytes are those that the function needs, not those that a kernel spends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The device's label, with its driver.
    pub device: String,
    /// Of the fastest pass.
    pub seconds: f64,
    pub gflops: f64,
    pub gbytes: f64,
    pub percent_of_roof: f64,
}

/// Results by id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Record(pub BTreeMap<String, Entry>);

impl Record {
    pub fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_str(&text).map_err(|e| format!("{}: no results of a bench: {e}", path.display()))
    }

    /// Adds these results to a file, in place of older ones of the same ids.
    pub fn add_to(self, path: &Path) -> Result<(), String> {
        let mut all = if path.exists() { Self::load(path)? } else { Self::default() };
        all.0.extend(self.0);
        let text = serde_json::to_string_pretty(&all).expect("numbers and strings") + "\n";
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// A line for each id that both have, and whether none of these is a regression.
    pub fn against(&self, baseline: &Self) -> (Vec<String>, bool) {
        let (mut lines, mut good) = (Vec::new(), true);
        for (id, new) in &self.0 {
            let Some(old) = baseline.0.get(id) else {
                lines.push(format!("{id}: not in the baseline"));
                continue;
            };
            let ratio = new.seconds / old.seconds;
            let slower = ratio > SLOWER;
            let verdict = if slower { ", REGRESSION" } else { "" };
            let other = if new.device == old.device { String::new() } else { format!(" (of {})", old.device) };
            lines.push(format!(
                "{id}: {:.3} ms, {ratio:.3} of the baseline's {:.3} ms{other}{verdict}",
                1e3 * new.seconds,
                1e3 * old.seconds
            ));
            good &= !slower;
        }
        (lines, good)
    }
}
