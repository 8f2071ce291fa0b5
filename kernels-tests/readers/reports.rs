//! What runs and profiles leave to be looked at: `results.json` and `profile.json`, with the page that is drawn of both.

use std::cell::Cell;
use std::path::PathBuf;

use minoise::config::{Config, Method, Profile as Algorithm};
use minoise::report::profile::{Beside, Profile, Row, Step};
use minoise::report::{Measured, Memory, Metrics, Moved, Noise, Page, Peaks, Results, Seconds};
use minoise::{Error, Result};

use super::{Folder, NAME, fuzz, memory, mutate};

/// Of so many pages one is drawn, which takes as long as reading hundreds.
const PAGES: usize = 32;

/// Two tasks of two classes and one, with noise in two blocks.
fn results(seed: u64) -> Results {
    let noise = |task: usize| Noise { mixture: vec![vec![0.5; task + 1]; 2], changes: vec![0.25, 0.5] };
    let metrics = Metrics {
        accuracy: vec![0.75, 0.5],
        matrix: vec![vec![0.75], vec![0.25, 1.0]],
        a_last: 0.5,
        a_avg: 0.625,
        forgetting: 0.5,
        bwt: -0.5,
        per_class: vec![Some(0.25), None, Some(1.0)],
        confusion: vec![vec![1, 1, 2], vec![0, 0, 0], vec![0, 0, 4]],
    };
    let measured = Measured {
        metrics,
        gamma: vec![10.0, 1000.0],
        residual: vec![1e-13, 2e-13],
        moved: vec![None, Some(Moved { drift: 0.5, explained: Some(0.25) })],
        noise: vec![Some(noise(0)), Some(noise(1))],
        seconds: Seconds { total: 3.0, analytic: 1.0, noise: 1.5, eval: 0.25, ..Seconds::default() },
        seconds_per_task: vec![1.0, 2.0],
        peak_device_bytes: 1 << 22,
        peak_by_phase: Peaks { analytic: 1 << 20, noise: 1 << 21, eval: 1 << 19 },
        peak_host_bytes: Some(1 << 23),
        dispatches: 3,
    };
    Results {
        version: "1.2.3".into(),
        method: Method::Min,
        profile: Algorithm::Paper,
        device: "cpu".into(),
        tuned: false,
        seed,
        config: Config { seed, ..Config::default() },
        data: "d".into(),
        backbone: "b".into(),
        classes: ["ant", "bee", "cat"].map(String::from).into(),
        known: 0,
        task_classes: vec![2, 1],
        memory: Memory { planned_bytes: 1 << 21, ..Memory::default() },
        measured,
    }
}

/// Two steps of two kernels.
fn profile() -> Profile {
    let row = |name: &str, seconds: [f64; 2], flops: f64| Row {
        name: name.into(),
        calls: 4.0,
        seconds: seconds.into(),
        flops,
        read: 1e6,
        written: 5e5,
        ..Row::default()
    };
    Profile {
        what: "train-step".into(),
        device: "cpu".into(),
        steps: [0.010, 0.012].map(|wall| Step { wall, kernels: 0.9 * wall, ..Step::default() }).into(),
        plain: vec![0.010, 0.011],
        kernels: vec![row("gemm", [0.008, 0.009], 4e8), row("copy_block", [0.001, 0.002], 0.0)],
        phases: vec![row("forward", [0.009, 0.011], 4e8)],
        parts: vec![row("block 0", [0.009, 0.011], 4e8)],
        ..Profile::default()
    }
}

/// A run with its profile, and one of another seed.
struct Runs {
    folder: Folder,
    seen: Cell<usize>,
}

impl Runs {
    fn new() -> Self {
        let runs = Self { folder: Folder::new(), seen: Cell::new(0) };
        results(0).write(&runs.dir()).expect("a file");
        results(1).write(&runs.other()).expect("a file");
        profile().write(&runs.dir(), &[]).expect("a file");
        runs
    }

    fn dir(&self) -> PathBuf {
        self.folder.0.path().join(NAME)
    }

    fn other(&self) -> PathBuf {
        self.dir().join("other")
    }

    /// Draws the run, alone or beside the other, where it is its turn.
    fn page(&self) -> Result<()> {
        let seen = self.seen.replace(self.seen.get() + 1);
        if seen.is_multiple_of(PAGES) {
            memory::stop();
            let all = [self.dir(), self.other()];
            return Page::of(&all[..1 + seen / PAGES % 2]).map(drop);
        }
        // A run that is given twice is read and checked, but not drawn.
        match Page::of(&[self.dir(), self.dir()]) {
            Err(Error::Config(text)) if text.contains("hold the same run") => Ok(()),
            other => other.map(drop),
        }
    }
}

#[test]
fn results_of_runs() {
    let (runs, whole) = (Runs::new(), serde_json::to_value(results(0)).expect("JSON"));
    let read = |bytes: &[u8]| {
        std::fs::write(runs.dir().join("results.json"), bytes).expect("a temporary file");
        Results::read(&runs.dir())?;
        runs.page()
    };
    (0..=PAGES).for_each(|_| read(whole.to_string().as_bytes()).expect("a valid file"));
    fuzz("results", 3, (1 << 20, 256), |rng| mutate::document(&whole, rng), read);
}

#[test]
fn profiles() {
    let (runs, whole) = (Runs::new(), serde_json::to_value(profile()).expect("JSON"));
    let read = |bytes: &[u8]| {
        std::fs::write(runs.dir().join("profile.json"), bytes).expect("a temporary file");
        let read = Profile::read(&runs.dir())?;
        let _ = read.table();
        // That it is of something else is no fault of the reader.
        let _ = Beside::of(&profile(), &read, 0.1).map(|beside| (beside.slower().len(), beside.table()));
        runs.page()
    };
    (0..=PAGES).for_each(|_| read(whole.to_string().as_bytes()).expect("a valid file"));
    fuzz("profile", 2, (1 << 20, 256), |rng| mutate::document(&whole, rng), read);
}
