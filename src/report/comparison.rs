//! Methods beside each other: means and deviations over seeds, and by how much each differs from one of them.

mod tables;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::report::{Difference, Results, Spread};
use crate::store::{check_replaceable, replace};
use crate::{Error, Result};

const SIZE: &str = "size.json";
const JSON: &str = "comparison.json";
const MARKDOWN: &str = "comparison.md";
const CSV: &str = "comparison.csv";

/// What a method has beside the frozen backbone after the last task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Numbers that gradients changed and that are kept.
    pub trained: u64,
    /// Bytes of the file of the model: all that it takes to predict and to learn on, but the backbone, and what is drawn
    /// again from the seed.
    pub stored_bytes: u64,
}

impl Size {
    /// Reads what [`Size::write`] wrote to `dir`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Store`] where it is none.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(SIZE);
        let text = std::fs::read(&path).map_err(|e| Error::io("read", &path, &e))?;
        let bad = |e: serde_json::Error| Error::Store { file: path.display().to_string(), message: e.to_string() };
        serde_json::from_slice(&text).map_err(bad)
    }

    /// Writes `dir/size.json`, beside the results of the run.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, dir: &Path) -> Result<()> {
        replace(&dir.join(SIZE), &json(self)?)
    }
}

/// What one run came to. Accuracies are shares from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// See [`Metrics`](crate::report::Metrics::a_last).
    pub a_last: f64,
    /// See [`Metrics`](crate::report::Metrics::a_avg).
    pub a_avg: f64,
    /// See [`Metrics`](crate::report::Metrics::forgetting).
    pub forgetting: f64,
    /// What was trained, and what is stored.
    #[serde(flatten)]
    pub size: Size,
    /// Seconds of the whole run.
    pub seconds: f64,
    /// The most bytes in use on the device.
    pub peak_device_bytes: u64,
}

impl Run {
    /// The figures of a finished run.
    pub fn of(results: &Results, size: Size) -> Self {
        let measured = &results.measured;
        Self {
            seed: results.seed,
            a_last: measured.metrics.a_last,
            a_avg: measured.metrics.a_avg,
            forgetting: measured.metrics.forgetting,
            size,
            seconds: measured.seconds.total,
            peak_device_bytes: measured.peak_device_bytes,
        }
    }
}

/// By how much the runs of a method differ from those of another, seed by seed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Differences {
    /// In `A_last`.
    pub a_last: Difference,
    /// In `A_avg`.
    pub a_avg: Difference,
}

/// One value of a setting, and what it led to on images that were held out of training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Trial {
    /// The value.
    pub value: f64,
    /// `A_last` on held-out images; none where the trial has no result.
    pub a_last: Option<f64>,
    /// `A_avg` on held-out images; none where the trial has no result.
    pub a_avg: Option<f64>,
}

/// A setting that was chosen among trials.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// The setting.
    pub setting: String,
    /// Its value of the best `A_avg`; of equal ones the first. None where no trial has a result.
    pub value: Option<f64>,
    /// All that was tried.
    pub trials: Vec<Trial>,
}

impl Choice {
    /// The choice among trials; none where there are none.
    pub fn among(setting: &str, trials: Vec<Trial>) -> Option<Self> {
        let judged = trials.iter().filter_map(|trial| Some((trial.value, trial.a_avg?)));
        let value = judged.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(value, _)| value);
        (!trials.is_empty()).then(|| Self { setting: setting.into(), value, trials })
    }
}

/// Means and deviations over the runs of a method.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Over its runs.
    pub a_last: Spread,
    /// Over its runs.
    pub a_avg: Spread,
    /// Over its runs.
    pub forgetting: Spread,
}

/// A method with all its runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The settings that make it what it is, and those that were given and suit it.
    pub settings: Vec<String>,
    /// Those that were given and mean nothing to it.
    pub left_out: Vec<String>,
    /// What was chosen for it on held-out images.
    pub choice: Option<Choice>,
    /// Its runs, by seed.
    pub runs: Vec<Run>,
    /// Which run has no result, and why; the row then has no figures.
    pub lost: Option<String>,
    /// Over its runs.
    #[serde(flatten)]
    pub figures: Option<Figures>,
    /// Against the row that all are held against, unless it is that.
    pub differences: Option<Differences>,
}

impl Row {
    /// A row of at least one run, or one that is lost.
    pub fn new(
        name: &str,
        settings: Vec<String>,
        left_out: Vec<String>,
        choice: Option<Choice>,
        runs: Vec<Run>,
        lost: Option<String>,
    ) -> Self {
        let over = |figure: fn(&Run) -> f64| Spread::of(&runs.iter().map(figure).collect::<Vec<_>>());
        let figures = || Figures {
            a_last: over(|run| run.a_last),
            a_avg: over(|run| run.a_avg),
            forgetting: over(|run| run.forgetting),
        };
        let figures = lost.is_none().then(figures);
        Self { name: name.into(), settings, left_out, choice, figures, differences: None, runs, lost }
    }

    /// Against the runs of the same seeds, in the same order; none where one of the two has no figures.
    fn against(&self, other: &Self) -> Option<Differences> {
        self.figures.and(other.figures)?;
        let by = |figure: fn(&Run) -> f64| {
            let pairs = self.runs.iter().zip(&other.runs);
            Difference::of(&pairs.map(|(run, other)| figure(run) - figure(other)).collect::<Vec<_>>())
        };
        Some(Differences { a_last: by(|run| run.a_last), a_avg: by(|run| run.a_avg) })
    }

    fn most(&self, figure: fn(&Run) -> u64) -> u64 {
        self.runs.iter().map(figure).max().unwrap_or_default()
    }

    fn seconds(&self) -> f64 {
        Spread::of(&self.runs.iter().map(|run| run.seconds).collect::<Vec<_>>()).mean
    }
}

/// What something is called, and the hash of what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Known {
    /// As the settings name it.
    pub name: String,
    /// See [`Results`].
    pub hash: String,
}

/// Methods on the same data, backbone and seeds. Accuracies are shares from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The version of this program.
    pub version: String,
    /// What repeats it.
    pub command: String,
    /// The devices that the runs were on.
    pub devices: Vec<String>,
    /// The data.
    pub data: Known,
    /// The backbone.
    pub backbone: Known,
    /// Whether the runs were judged on images held out of training, instead of those of the test.
    pub held_out: bool,
    /// The row that the others are held against.
    pub baseline: Option<String>,
    /// The methods.
    pub rows: Vec<Row>,
}

impl Comparison {
    /// Holds all rows against the one of this name, if there is one and it has figures.
    pub fn against(mut self, name: &str) -> Self {
        if let Some(base) = self.rows.iter().find(|row| row.name == name && row.figures.is_some()).cloned() {
            let others = self.rows.iter_mut().filter(|row| row.name != name);
            others.for_each(|row| row.differences = row.against(&base));
            self.baseline = Some(base.name);
        }
        self
    }

    /// Writes `comparison.json`, `comparison.md` and `comparison.csv` to `dir`, creating it.
    ///
    /// # Errors
    /// [`Error::Io`] where that is not possible; see [`csv`](Self::csv).
    pub fn write(&self, dir: &Path) -> Result<()> {
        replace(&dir.join(JSON), &json(self)?)?;
        replace(&dir.join(MARKDOWN), (self.markdown() + "\n").as_bytes())?;
        replace(&dir.join(CSV), self.csv()?.as_bytes())
    }

    /// Tries to write to `dir`, so that a comparison fails before its work and not after.
    ///
    /// # Errors
    /// [`Error::Io`] where that is not possible.
    pub fn check_writable(dir: &Path) -> Result<()> {
        [JSON, MARKDOWN, CSV].iter().try_for_each(|name| check_replaceable(&dir.join(name)))
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(value).map_err(|e| Error::Unsupported(e.to_string()))?;
    json.push(b'\n');
    Ok(json)
}

#[cfg(test)]
mod tests;
