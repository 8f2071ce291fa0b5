//! `results.json`: everything measured in a run, and the settings that lead to it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Config, Method, Profile};
use crate::report::Metrics;
use crate::store::{check_replaceable, replace};
use crate::{Error, Result};

pub(crate) const FILE: &str = "results.json";

/// Seconds spent, by kind of work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seconds {
    /// The whole run.
    pub total: f64,
    /// Analytic passes and solves.
    pub analytic: f64,
    /// Training of the noise.
    pub noise: f64,
    /// Evaluation.
    pub eval: f64,
    /// Compilation of kernels.
    pub compile: f64,
    /// Waiting for images to be decoded and transformed, within the above.
    pub data: f64,
    /// Saving what is needed to go on.
    pub save: f64,
}

/// What a run was planned to take of the device's memory, and how it stays within the setting `memory_mib`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Most bytes of live tensors.
    pub planned_bytes: u64,
    /// Images of a training batch.
    pub training_batch: usize,
    /// Images of it that are taken at once.
    pub training_part: usize,
    /// Whether blocks are computed once more for their gradients, instead of being kept.
    pub recomputed: bool,
    /// Images of a batch of an analytic or evaluation pass.
    pub fit_batch: usize,
}

/// How far the training of a task moved the features of its images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// `|f_after - f_before|_F / |f_before|_F`.
    pub drift: f64,
    /// Share of the squared change of random features that the map which compensates old statistics foretells of images that
    /// it was not fitted to; nothing where there is none.
    pub explained: Option<f64>,
}

/// What the noise layers are after a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// `[layer][module]`: mixture weights of the layers that take part, the oldest module first.
    pub mixture: Vec<Vec<f32>>,
    /// By how much what stands behind every block changes its tokens, over a few test images: `|y - x|_F / |x|_F`, x the tokens
    /// of the block and y those behind its noise layer.
    pub changes: Vec<f32>,
}

/// The most bytes that tensors took on the device at once, by kind of work; 0 where it was not recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Peaks {
    /// Analytic passes and solves.
    pub analytic: u64,
    /// Training of the noise.
    pub noise: u64,
    /// Evaluation.
    pub eval: u64,
}

/// What a run measures, so far or in all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What the run is judged by.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// The ridge of the last solve of each task.
    pub gamma: Vec<f64>,
    /// The residual of that solve.
    pub residual: Vec<f64>,
    /// How far the training of each task moved its features, where that is known.
    #[serde(default)]
    pub moved: Vec<Option<Moved>>,
    /// The noise layers after each task, where there are any.
    #[serde(default)]
    pub noise: Vec<Option<Noise>>,
    /// Time spent.
    pub seconds: Seconds,
    /// Time that each task took, learning and judging.
    pub seconds_per_task: Vec<f64>,
    /// The most bytes in use on the device.
    pub peak_device_bytes: u64,
    /// The most bytes of tensors, by kind of work.
    #[serde(default)]
    pub peak_by_phase: Peaks,
    /// The most bytes that the process held in the host's memory, where the system tells.
    pub peak_host_bytes: Option<u64>,
    /// Kernels started.
    pub dispatches: u64,
}

/// The contents of `results.json`. Accuracies are shares from 0 to 1; classes are new labels (see
/// [`Metrics`] for the formulas).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The version of this program.
    pub version: String,
    /// Which method learned.
    #[serde(default)]
    pub method: Method,
    /// Which algorithm of MiN ran, if it was MiN.
    pub profile: Profile,
    /// The name of the device, with its driver.
    pub device: String,
    /// Whether `minoise tune` had measured the device.
    pub tuned: bool,
    /// The seed of the run.
    pub seed: u64,
    /// Every setting.
    pub config: Config,
    /// Hash of the labels and images of the data.
    pub data: String,
    /// Hash of the architecture and weights of the backbone.
    pub backbone: String,
    /// The names of all classes, by new label.
    pub classes: Vec<String>,
    /// How many of them were known before the run.
    pub known: usize,
    /// How many classes each task has; none where it was not recorded.
    #[serde(default)]
    pub task_classes: Vec<usize>,
    /// What the run was planned to take of the device's memory.
    #[serde(default)]
    pub memory: Memory,
    /// What was measured.
    #[serde(flatten)]
    pub measured: Measured,
}

impl Results {
    /// Reads what [`Results::write`] wrote to `dir`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Store`] where it is none.
    ///
    /// # Examples
    /// ```
    /// use minoise::protocol::{Unwatched, run};
    /// use minoise::{Config, Device, Results, data};
    /// use pollster::block_on;
    ///
    /// # let settings = ["noise=false", "tasks=50,50", "train_per_class=4", "test_per_class=2", "buffer_size=256"];
    /// # let config = Config::load(None, None, &settings.map(String::from))?;
    /// # let dataset = data::load(&config.data, &config.images)?;
    /// # let device = block_on(Device::open(&"cpu".into()))?;
    /// # let dir = tempfile::tempdir()?;
    /// let results = block_on(run(&config, &device, &dataset, &mut Unwatched))?;
    /// results.write(dir.path())?;
    ///
    /// let read = Results::read(dir.path())?;
    /// assert_eq!(read, results);
    /// println!("A_avg {:.2} % on {}", 100.0 * read.measured.metrics.a_avg, read.device);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let text = std::fs::read(&path).map_err(|e| Error::io("read", &path, &e))?;
        let bad = |e: serde_json::Error| Error::Store { file: path.display().to_string(), message: e.to_string() };
        serde_json::from_slice(&text).map_err(bad)
    }

    /// Writes `dir/results.json`, creating `dir`, and returns its path. The file appears whole or not at all: until it is
    /// complete and on disk, an earlier one stays.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory or the file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        let path = dir.join(FILE);
        let mut json = serde_json::to_vec(self).map_err(|e| Error::io("write", &path, &e.into()))?;
        json.push(b'\n');
        replace(&path, &json)?;
        Ok(path)
    }
}

/// Tries to write a file where `dir` is or will be, so that a run fails before its work and not after.
///
/// # Errors
/// [`Error::Io`] if that is not possible, or if `results.json` in `dir` is not a file that can be replaced.
pub fn check_writable(dir: &Path) -> Result<()> {
    check_replaceable(&dir.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn results() -> Results {
        let metrics = Metrics {
            accuracy: vec![0.75, 0.5],
            matrix: vec![vec![0.75], vec![0.25, 1.0]],
            a_last: 0.5,
            a_avg: 0.625,
            forgetting: 0.5,
            bwt: -0.5,
            per_class: vec![Some(0.25), Some(1.0)],
            confusion: vec![vec![1, 3], vec![0, 4]],
        };
        Results {
            version: "1.2.3".into(),
            method: Method::Min,
            profile: Profile::Paper,
            device: "cpu".into(),
            tuned: false,
            seed: 7,
            config: Config { seed: 7, ..Config::default() },
            data: "d".into(),
            backbone: "b".into(),
            classes: ["ant", "bee"].map(String::from).to_vec(),
            known: 0,
            task_classes: vec![1, 1],
            memory: Memory::default(),
            measured: Measured {
                metrics,
                gamma: vec![10.0, 10.0],
                residual: vec![1e-13, 2e-13],
                moved: vec![None, Some(Moved { drift: 0.5, explained: Some(0.25) })],
                noise: vec![None, Some(Noise { mixture: vec![vec![0.75, 0.25]], changes: vec![0.125] })],
                seconds: Seconds::default(),
                seconds_per_task: vec![1.0, 2.0],
                peak_device_bytes: 1024,
                peak_by_phase: Peaks { analytic: 512, noise: 1024, eval: 256 },
                peak_host_bytes: None,
                dispatches: 3,
            },
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn the_file_holds_the_agreed_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = results().write(&dir.path().join("new/out")).unwrap();
        assert_eq!(path, dir.path().join("new/out/results.json"));
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        let expected = "version method profile device tuned seed config data backbone classes known task_classes memory accuracy matrix a_last a_avg \
                        forgetting bwt per_class confusion gamma residual moved noise seconds seconds_per_task \
                        peak_device_bytes peak_by_phase peak_host_bytes dispatches";
        assert_eq!(keys(&json), expected);
        assert_eq!(keys(&json["seconds"]), "total analytic noise eval compile data save");
        assert_eq!(Results::read(path.parent().unwrap()).unwrap(), results());
        assert_eq!((&json["method"], &json["profile"], &json["seed"]), (&"min".into(), &"paper".into(), &7.into()));
        // Files of before there was a choice of methods.
        let mut old = json.clone();
        assert!(old.as_object_mut().unwrap().remove("method").is_some());
        assert_eq!(serde_json::from_value::<Results>(old).unwrap(), results());
        // And of before noise, peaks and the sizes of tasks were recorded.
        let mut old = json.clone();
        for key in ["noise", "peak_by_phase", "task_classes"] {
            assert!(old.as_object_mut().unwrap().remove(key).is_some());
        }
        let measured = Measured { noise: Vec::new(), peak_by_phase: Peaks::default(), ..results().measured };
        let expected = Results { measured, task_classes: Vec::new(), ..results() };
        assert_eq!(serde_json::from_value::<Results>(old).unwrap(), expected);
        assert_eq!(json["matrix"], serde_json::json!([[0.75], [0.25, 1.0]]));
        assert_eq!(json["config"]["mixture"], "learned");
        assert_eq!(names(path.parent().unwrap()), ["results.json"]);
    }

    #[test]
    fn a_second_run_replaces_the_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "old").unwrap();
        let path = results().write(dir.path()).unwrap();
        assert!(fs::read_to_string(path).unwrap().starts_with("{\"version\":\"1.2.3\""));
        assert_eq!(names(dir.path()), [FILE]);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(FILE)).unwrap();
        assert!(matches!(results().write(dir.path()), Err(Error::Io { .. })));
        assert!(matches!(check_writable(dir.path()), Err(Error::Io { .. })));
        assert_eq!(names(dir.path()), [FILE]);
    }

    #[test]
    fn a_path_through_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for result in [check_writable(&file), check_writable(&file.join("out")), results().write(&file).map(drop)] {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("file"), "{error}");
        }
    }

    #[test]
    fn nothing_is_created_before_there_is_something_to_keep() {
        let dir = tempfile::tempdir().unwrap();
        check_writable(&dir.path().join("new/out")).unwrap();
        assert!(names(dir.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_what_the_umask_allows() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("plain"), "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&results().write(dir.path()).unwrap()), mode(&dir.path().join("plain")));
    }
}
