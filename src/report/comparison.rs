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
    /// `A_last` on held-out images.
    pub a_last: f64,
    /// `A_avg` on held-out images.
    pub a_avg: f64,
}

/// A setting that was chosen among trials.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// The setting.
    pub setting: String,
    /// Its value of the best `A_avg`; of equal ones the first.
    pub value: f64,
    /// All that was tried.
    pub trials: Vec<Trial>,
}

impl Choice {
    /// The choice among trials; none where there are none.
    pub fn among(setting: &str, trials: Vec<Trial>) -> Option<Self> {
        let better = |best: Trial, trial: &Trial| if trial.a_avg > best.a_avg { *trial } else { best };
        let value = trials.iter().skip(1).fold(*trials.first()?, better).value;
        Some(Self { setting: setting.into(), value, trials })
    }
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
    /// Over its runs.
    pub a_last: Spread,
    /// Over its runs.
    pub a_avg: Spread,
    /// Over its runs.
    pub forgetting: Spread,
    /// Against the row that all are held against, unless it is that.
    pub differences: Option<Differences>,
}

impl Row {
    /// A row of at least one run.
    pub fn new(
        name: &str,
        settings: Vec<String>,
        left_out: Vec<String>,
        choice: Option<Choice>,
        runs: Vec<Run>,
    ) -> Self {
        let over = |figure: fn(&Run) -> f64| Spread::of(&runs.iter().map(figure).collect::<Vec<_>>());
        Self {
            name: name.into(),
            settings,
            left_out,
            choice,
            a_last: over(|run| run.a_last),
            a_avg: over(|run| run.a_avg),
            forgetting: over(|run| run.forgetting),
            differences: None,
            runs,
        }
    }

    /// Against the runs of the same seeds, in the same order.
    fn against(&self, other: &Self) -> Differences {
        let by = |figure: fn(&Run) -> f64| {
            let pairs = self.runs.iter().zip(&other.runs);
            Difference::of(&pairs.map(|(run, other)| figure(run) - figure(other)).collect::<Vec<_>>())
        };
        Differences { a_last: by(|run| run.a_last), a_avg: by(|run| run.a_avg) }
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
    /// Holds all rows against the one of this name, if there is one.
    pub fn against(mut self, name: &str) -> Self {
        if let Some(base) = self.rows.iter().find(|row| row.name == name).cloned() {
            let others = self.rows.iter_mut().filter(|row| row.name != name);
            others.for_each(|row| row.differences = Some(row.against(&base)));
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
mod tests {
    use super::*;

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-15, "{got} is not {expected}");
    }

    fn row(name: &str, figures: &[[f64; 2]]) -> Row {
        let run = |(seed, &[a_last, a_avg]): (usize, &[f64; 2])| Run {
            seed: seed as u64,
            a_last,
            a_avg,
            forgetting: 0.125,
            size: Size { trained: 10 * seed as u64, stored_bytes: 3 << 19 },
            seconds: 1.0 + seed as f64,
            peak_device_bytes: 1 << 20,
        };
        let settings = vec![format!("profile={name}")];
        Row::new(name, settings, vec!["lr=1".into()], None, figures.iter().enumerate().map(run).collect())
    }

    fn comparison() -> Comparison {
        let known = |name: &str| Known { name: name.into(), hash: "0123456789abcdef0123".into() };
        let rows = vec![
            row("floor", &[[0.5, 0.75], [0.25, 0.5], [0.5, 0.5]]),
            row("other", &[[0.75, 0.75], [0.375, 0.5], [0.625, 0.25]]),
        ];
        Comparison {
            version: "1".into(),
            command: "minoise compare".into(),
            devices: vec!["cpu".into()],
            data: known("icons"),
            backbone: known("vit"),
            held_out: false,
            baseline: None,
            rows,
        }
    }

    #[test]
    fn rows_are_held_against_the_baseline_seed_by_seed() {
        let compared = comparison().against("floor");
        assert_eq!(compared.rows[0].differences, None);
        let Differences { a_last, a_avg } = compared.rows[1].differences.unwrap();
        close(a_last.mean, 0.5 / 3.0);
        assert_eq!((a_last.least, a_last.p), (0.125, 0.25));
        close(a_avg.mean, -0.25 / 3.0);
        assert_eq!((a_avg.least, a_avg.p), (-0.25, 1.0));
        assert_eq!(comparison().against("missing"), comparison());
    }

    #[test]
    fn tables_tell_every_row() {
        let compared = comparison().against("floor");
        let text = compared.markdown();
        for line in [
            "| floor | 41.67 ± 14.43 | 58.33 ± 14.43 | 12.50 ± 0.00 | 20 | 1.5 | 2.0 | 1.0 |",
            "| other | +16.67 | +12.50 | 0.250 | -8.33 | -25.00 | 1.000 |",
            "- `floor`: `profile=floor`; without `lr=1`",
            "Device: cpu. Data: icons (0123456789abcdef). Backbone: vit (0123456789abcdef).",
            "minoise compare",
        ] {
            assert!(text.lines().any(|found| found == line), "`{line}` is not in\n{text}");
        }
        assert!(!comparison().markdown().contains("Differences"));
        let csv = compared.csv().unwrap();
        let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [18; 3]);
        let of = |line: usize, key: &str| lines[line][lines[0].iter().position(|k| *k == key).expect("a column")];
        assert_eq!((of(2, "method"), of(2, "seeds"), of(2, "a_last_difference_least")), ("other", "3", "0.125"));
        assert_eq!((of(1, "a_last_p"), of(1, "stored_bytes"), of(1, "seconds_mean")), ("", "1572864", "2"));
        let json: serde_json::Value = serde_json::from_slice(&json(&compared).unwrap()).unwrap();
        assert_eq!((&json["baseline"], &json["rows"][1]["runs"][2]["trained"]), (&"floor".into(), &20.into()));
        assert_eq!(json["rows"][1]["differences"]["a_last"]["p"], 0.25);
    }

    #[test]
    fn the_best_trial_is_taken_and_of_equal_ones_the_first() {
        let trial = |value, a_avg| Trial { value, a_last: 0.5, a_avg };
        let chosen = |figures: &[(f64, f64)]| {
            Choice::among("lr", figures.iter().map(|&(value, a_avg)| trial(value, a_avg)).collect()).map(|c| c.value)
        };
        assert_eq!(chosen(&[(0.1, 0.5), (0.03, 0.75), (0.3, 0.25)]), Some(0.03));
        assert_eq!(chosen(&[(0.1, 0.5), (0.03, 0.5), (0.3, 0.25)]), Some(0.1));
        assert_eq!(chosen(&[(0.1, 0.5), (0.03, 0.5), (0.3, 0.75)]), Some(0.3));
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn files_hold_the_tables() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("new");
        Comparison::check_writable(&out).unwrap();
        comparison().write(&out).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [CSV, JSON, MARKDOWN]);
        std::fs::remove_file(out.join(CSV)).unwrap();
        std::fs::create_dir(out.join(CSV)).unwrap();
        assert!(matches!(Comparison::check_writable(&out), Err(Error::Io { .. })));
        let size = Size { trained: 7, stored_bytes: 9 };
        size.write(&out).unwrap();
        assert_eq!(Size::read(&out).unwrap(), size);
    }
}
