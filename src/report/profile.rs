//! Profiles: what kernels, phases and parts of a network took, step by step; as tables, JSON, a trace and a plot.

mod compare;
#[cfg(feature = "cli")]
mod roofline;
mod table;
mod trace;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use compare::{Beside, Compared, Verdict};
#[cfg(feature = "cli")]
pub use roofline::svg;
pub use trace::{Event, Track, trace};

use crate::report::Spread;
use crate::store::replace;
use crate::{Error, Result};

/// Peak rates of a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Roof {
    /// Multiplications and additions, 10^9 a second.
    pub gflops: f64,
    /// Bytes read and written by a copy, 10^9 a second.
    pub gbytes: f64,
}

/// Compilation, before and in the steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Compilation {
    /// Seconds of all of it.
    pub seconds: f64,
    /// Pipelines that were made.
    pub pipelines: usize,
}

/// Seconds of one profiled step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// From its beginning until the device was done.
    pub wall: f64,
    /// Sum over all dispatches.
    pub kernels: f64,
    /// Until the first dispatch began.
    pub before: f64,
    /// After the last dispatch was over.
    pub after: f64,
    /// In which the host was at work: neither at what follows, nor at a kernel that it runs itself.
    pub host: f64,
    /// Of these, what recording dispatches took.
    pub recording: f64,
    /// In which the driver took what was recorded; some run it at once.
    pub submitting: f64,
    /// In which the host waited for the device.
    pub waiting: f64,
    /// In which it compiled.
    pub compiling: f64,
}

/// Bytes between host and device, and within the device beside the kernels; of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// Of the operands that dispatches read.
    pub read: f64,
    /// Of the operands that they wrote.
    pub written: f64,
    /// To the device.
    pub uploaded: f64,
    /// Back to the host.
    pub read_back: f64,
    /// Copied and cleared on the device.
    pub copied: f64,
}

/// A kernel, a phase or a part of the network; of a step, but for `seconds`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is called.
    pub name: String,
    /// Dispatches.
    pub calls: f64,
    /// What these took in every step.
    pub seconds: Vec<f64>,
    /// Seconds of the host, as in [`Step::host`]; of a kernel those of recording.
    pub host: f64,
    /// Multiplications and additions.
    pub flops: f64,
    /// Bytes read.
    pub read: f64,
    /// Bytes written.
    pub written: f64,
}

/// What was profiled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Of this program.
    pub version: String,
    /// How to have it again.
    pub command: String,
    /// `run`, `train-step`, `inference`, `analytic` or the name of a kernel.
    pub what: String,
    /// What that is of, in words.
    pub of: String,
    /// Backend, adapter and driver.
    pub device: String,
    /// What the device reaches at best.
    pub roof: Roof,
    /// All compilation.
    pub compilation: Compilation,
    /// Every profiled step.
    pub steps: Vec<Step>,
    /// Wall seconds of as many steps without profiling, each taken beside one with it.
    pub plain: Vec<f64>,
    /// Bytes moved.
    pub moved: Moved,
    /// Dispatches of all steps that were not noted or not timed.
    #[serde(default)]
    pub missing: usize,
    /// By kernel, the slowest first.
    pub kernels: Vec<Row>,
    /// By phase, in the order in which they begin; of a kernel's problems by problem.
    pub phases: Vec<Row>,
    /// By part of the network, in the order in which they begin.
    pub parts: Vec<Row>,
}

impl Roof {
    /// Percent of the roof: `100 max(flops / gflops, bytes / gbytes) / (10^9 seconds)`; above 100 only where the data stay in a
    /// cache.
    pub fn percent(&self, flops: f64, bytes: f64, seconds: f64) -> f64 {
        100.0 * f64::max(flops / self.gflops, bytes / self.gbytes) * 1e-9 / seconds
    }
}

impl Row {
    /// Mean seconds of a step, and their deviation from step to step.
    pub fn spread(&self) -> Spread {
        Spread::of(&self.seconds)
    }

    /// Bytes read and written.
    pub fn bytes(&self) -> f64 {
        self.read + self.written
    }
}

impl Profile {
    /// The wall time of steps without profiling, or of those with it where there are no others.
    pub fn wall(&self) -> Spread {
        if self.plain.is_empty() { self.of_steps(|step| step.wall) } else { Spread::of(&self.plain) }
    }

    fn of_steps(&self, field: impl Fn(&Step) -> f64) -> Spread {
        Spread::of(&self.steps.iter().map(field).collect::<Vec<_>>())
    }

    /// The share of a step's wall time that its kernels add up to.
    pub fn covered(&self) -> f64 {
        self.of_steps(|step| step.kernels).mean / self.of_steps(|step| step.wall).mean
    }

    /// Of a JSON text.
    ///
    /// # Errors
    /// [`Error::Data`] with `file` where it is no profile.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let no =
            |why: String| Error::Data { file: file.into(), message: format!("no profile of `minoise profile`: {why}") };
        let profile: Self = serde_json::from_str(text).map_err(|e| no(e.to_string()))?;
        let n = profile.steps.len();
        let rows = [&profile.kernels, &profile.phases, &profile.parts];
        let figures = |row: &Row| row.seconds.iter().all(|x| x.is_finite() && *x >= 0.0);
        if n == 0 || rows.into_iter().flatten().any(|row| row.seconds.len() != n || !figures(row)) {
            return Err(no("its rows do not have the seconds of all steps".into()));
        }
        if profile
            .steps
            .iter()
            .map(|step| step.wall)
            .chain(profile.plain.iter().copied())
            .any(|x| x.is_nan() || x <= 0.0)
        {
            return Err(no("a step that took no time".into()));
        }
        Ok(profile)
    }

    /// Reads a file, or `profile.json` of a directory.
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`Profile::parse`].
    pub fn read(path: &Path) -> Result<Self> {
        let file = if path.is_dir() { path.join(FILE) } else { path.into() };
        let text = std::fs::read_to_string(&file).map_err(|e| Error::io("read", &file, &e))?;
        Self::parse(&file.display().to_string(), &text)
    }

    /// As JSON.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for numbers that JSON does not know.
    pub fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|e| Error::Unsupported(e.to_string()))
    }

    /// Writes `profile.json`, and the trace as `trace.json`, into a directory.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, dir: &Path, events: &[Event]) -> Result<()> {
        replace(&dir.join(FILE), (self.json()? + "\n").as_bytes())?;
        replace(&dir.join("trace.json"), trace(&self.device, events).as_bytes())
    }
}

pub(crate) const FILE: &str = "profile.json";

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps of 10 and 12 ms, of two kernels.
    pub(super) fn profile() -> Profile {
        let row = |name: &str, seconds: [f64; 2], flops: f64| Row {
            name: name.into(),
            calls: 4.0,
            seconds: seconds.into(),
            host: 1e-4,
            flops,
            read: 1e6,
            written: 5e5,
        };
        let step = |wall: f64| Step {
            wall,
            kernels: wall - 5e-4,
            before: 1e-4,
            after: 1e-4,
            host: 1e-3,
            recording: 5e-4,
            submitting: 1e-4,
            waiting: wall - 1.1e-3,
            compiling: 0.0,
        };
        Profile {
            version: "1.2.3".into(),
            command: "minoise profile".into(),
            what: "train-step".into(),
            of: "64 images".into(),
            device: "vulkan test".into(),
            roof: Roof { gflops: 100.0, gbytes: 10.0 },
            compilation: Compilation { seconds: 1.5, pipelines: 7 },
            steps: vec![step(0.010), step(0.012)],
            plain: vec![0.010, 0.011],
            moved: Moved { read: 2e6, written: 1e6, uploaded: 1000.0, read_back: 0.0, copied: 5.0 },
            missing: 0,
            kernels: vec![row("gemm", [0.008, 0.009], 4e8), row("copy_block", [0.0015, 0.0025], 0.0)],
            phases: vec![row("forward", [0.0095, 0.0115], 4e8)],
            parts: vec![row("block 0", [0.0095, 0.0115], 4e8)],
        }
    }

    #[test]
    fn rates_and_shares_by_hand() {
        let profile = profile();
        assert!((profile.wall().mean - 0.0105).abs() < 1e-15);
        assert!((profile.covered() - 0.0105 / 0.011).abs() < 1e-12);
        // 0.4 GFLOP at 100 GFLOP/s are 4 ms; 1.5 MB at 10 GB/s 0.15 ms.
        let row = &profile.kernels[0];
        assert!((profile.roof.percent(row.flops, row.bytes(), 0.008) - 50.0).abs() < 1e-9);
        assert!((profile.roof.percent(0.0, row.bytes(), 0.0015) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_written_is_read_again_and_nothing_else() {
        let (profile, dir) = (profile(), tempfile::tempdir().unwrap());
        profile.write(dir.path(), &[]).unwrap();
        assert_eq!(Profile::read(dir.path()).unwrap(), profile);
        assert_eq!(Profile::read(&dir.path().join("profile.json")).unwrap(), profile);
        assert!(matches!(Profile::read(&dir.path().join("other.json")), Err(Error::Io { .. })));
        let refused = |text: &str| {
            let error = Profile::parse("a.json", text).unwrap_err().to_string();
            assert!(error.contains("a.json") && error.contains("no profile"), "{error}");
        };
        refused("{");
        refused("{}");
        refused(&profile.json().unwrap().replace("\"what\"", "\"when\""));
        let mut short = profile.clone();
        short.kernels[0].seconds.pop();
        refused(&short.json().unwrap());
        let none = Profile { steps: Vec::new(), ..profile.clone() };
        refused(&none.json().unwrap());
        let mut still = profile;
        still.plain[0] = 0.0;
        refused(&still.json().unwrap());
    }
}
