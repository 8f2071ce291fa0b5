//! `results.json`: everything measured in a run, and the settings that lead to it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::{Config, Profile};
use crate::report::Metrics;
use crate::report::replace::{check_replaceable, replace};
use crate::{Error, Result};

const FILE: &str = "results.json";

/// Seconds spent, by kind of work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
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
}

/// The contents of `results.json`. Accuracies are shares from 0 to 1; classes are new labels (see
/// [`Metrics`] for the formulas).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Results {
    /// Which algorithm ran.
    pub profile: Profile,
    /// The name of the device.
    pub device: String,
    /// The seed of the run.
    pub seed: u64,
    /// Every setting.
    pub config: Config,
    /// `A_t`, per task.
    pub accuracy: Vec<f64>,
    /// `A_t` of the last task.
    pub a_last: f64,
    /// The mean of `A_t`.
    pub a_avg: f64,
    /// Forgetting.
    pub forgetting: f64,
    /// Backward transfer.
    pub bwt: f64,
    /// `a[t][i]`, `i <= t`.
    pub matrix: Vec<Vec<f64>>,
    /// `[true][predicted]` after the last task.
    pub confusion: Vec<Vec<u64>>,
    /// Accuracy on each class after the last task.
    pub per_class: Vec<f64>,
    /// Time spent.
    pub seconds: Seconds,
    /// The most bytes in use on the device.
    pub peak_device_bytes: u64,
    /// Kernels started.
    pub dispatches: u64,
}

impl Results {
    /// Gathers the results of a run.
    pub fn new(
        config: Config,
        device: String,
        metrics: Metrics,
        seconds: Seconds,
        peak_device_bytes: u64,
        dispatches: u64,
    ) -> Self {
        let Metrics { accuracy, matrix, a_last, a_avg, forgetting, bwt, per_class, confusion } = metrics;
        let (profile, seed) = (config.profile, config.seed);
        Self {
            profile,
            device,
            seed,
            config,
            accuracy,
            a_last,
            a_avg,
            forgetting,
            bwt,
            matrix,
            confusion,
            per_class,
            seconds,
            peak_device_bytes,
            dispatches,
        }
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

/// Creates `dir` and tries to write a file in it, so that a run fails before its work and not after.
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
            per_class: vec![0.25, 1.0],
            confusion: vec![vec![1, 3], vec![0, 4]],
        };
        Results::new(Config { seed: 7, ..Config::default() }, "cpu".into(), metrics, Seconds::default(), 1024, 3)
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
        let expected = "profile device seed config accuracy a_last a_avg forgetting bwt matrix confusion per_class seconds \
                        peak_device_bytes dispatches";
        assert_eq!(keys(&json), expected);
        assert_eq!(keys(&json["seconds"]), "total analytic noise eval compile data");
        assert_eq!((&json["profile"], &json["seed"]), (&"paper".into(), &7.into()));
        assert_eq!(json["matrix"], serde_json::json!([[0.75], [0.25, 1.0]]));
        assert_eq!(json["config"]["mixture"], "learned");
        assert_eq!(names(path.parent().unwrap()), ["results.json"]);
    }

    #[test]
    fn a_second_run_replaces_the_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "old").unwrap();
        let path = results().write(dir.path()).unwrap();
        assert!(fs::read_to_string(path).unwrap().starts_with("{\"profile\":\"paper\""));
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
    fn a_writable_directory_stays_empty() {
        let dir = tempfile::tempdir().unwrap();
        check_writable(&dir.path().join("out")).unwrap();
        assert!(names(&dir.path().join("out")).is_empty());
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
