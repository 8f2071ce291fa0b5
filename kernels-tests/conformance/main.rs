//! conformance FOLDER PAGE: joins what scripts/conformance left in the folder, a head and a report of each implementation,
//! as a page of Markdown. Exit code 1 where something failed, or should have run and ran nothing.

mod page;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// One implementation; a report stands beside it unless it was not run.
#[derive(Debug, Deserialize)]
struct Head {
    kind: Kind,
    title: String,
    /// Of the sources that were tried.
    commit: String,
    seconds: u64,
    /// Why it was not run, else empty.
    reason: String,
    /// How its run ended without a report, else empty.
    fault: String,
    /// What a validator says of itself.
    version: String,
}

impl Head {
    fn ran(&self) -> bool {
        self.reason.is_empty() && self.fault.is_empty()
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Executes,
    Compiles,
    Validates,
}

/// As `kernels-tests/report.rs` writes it, or a validator's count.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Report {
    adapters: Vec<Adapter>,
    devices: BTreeMap<String, BTreeMap<String, Kernel>>,
    trials: Trials,
    shaders: usize,
    failed: usize,
}

#[derive(Debug, Default, Deserialize)]
struct Trials {
    passed: usize,
    failed: usize,
}

#[derive(Debug, Deserialize)]
struct Adapter {
    backend: String,
    name: String,
    driver: String,
    /// `Cpu` for software.
    kind: String,
    caps: Caps,
}

#[derive(Debug, Deserialize)]
struct Caps {
    max_binding: u64,
    workgroup_memory: u32,
    max_invocations: u32,
    storage_buffers: u32,
    subgroup: (u32, u32),
    f16: bool,
    matrix: Option<u32>,
    timestamps: bool,
}

#[derive(Debug, Deserialize)]
struct Kernel {
    run: usize,
    failed: usize,
    not_run: BTreeMap<String, usize>,
    largest_error: f64,
    pipelines: Pipelines,
}

#[derive(Debug, Deserialize)]
struct Pipelines {
    compiled: usize,
    failed: usize,
}

/// One row of the page.
#[derive(Debug)]
struct Row {
    head: Head,
    report: Report,
}

impl Row {
    fn adapter(&self) -> Option<&Adapter> {
        self.report.adapters.first()
    }

    /// By kernel, on the adapter rather than on the CPU device.
    fn kernels(&self) -> Option<&BTreeMap<String, Kernel>> {
        let Adapter { backend, name, driver, .. } = self.adapter()?;
        self.report.devices.get(&format!("{backend} {name} ({driver})"))
    }

    fn sum(&self, count: impl Fn(&Kernel) -> usize) -> usize {
        self.kernels().map_or(0, |kernels| kernels.values().map(count).sum())
    }

    /// Trials that ended before they could report what failed: by a panic.
    fn broken(&self) -> usize {
        let reported = match self.head.kind {
            Kind::Executes => self.sum(|k| k.failed),
            _ => self.sum(|k| usize::from(k.pipelines.failed > 0)),
        };
        self.report.trials.failed.saturating_sub(reported)
    }

    /// Trials of more than a kernel that passed: gradients, golden and short runs, statistics, the queue.
    fn others(&self) -> usize {
        self.report.trials.passed.saturating_sub(self.sum(|k| k.run - k.failed))
    }

    /// What was tried at all, and what of it failed.
    fn tried(&self) -> (usize, usize) {
        match self.head.kind {
            Kind::Executes => (self.sum(|k| k.run) + self.broken(), self.sum(|k| k.failed) + self.broken()),
            Kind::Compiles => {
                let failed = self.sum(|k| k.pipelines.failed);
                (self.sum(|k| k.pipelines.compiled) + failed, failed + self.broken())
            }
            Kind::Validates => (self.report.shaders, self.report.failed),
        }
    }

    fn passed(&self) -> bool {
        let (tried, failed) = self.tried();
        self.head.fault.is_empty() && tried > 0 && failed == 0
    }
}

fn rows(folder: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.retain(|path| path.to_string_lossy().ends_with(".head.json"));
    paths.sort();
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
    let row = |path: &PathBuf| -> Result<Row, Box<dyn Error>> {
        let head: Head = serde_json::from_str(&read(path)?)?;
        let beside = path.with_extension("").with_extension("report.json");
        let report = if head.ran() { serde_json::from_str(&read(&beside)?)? } else { Report::default() };
        Ok(Row { head, report })
    };
    paths.iter().map(row).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [folder, page] = arguments.as_slice() else { return Err("usage: conformance FOLDER PAGE".into()) };
    let rows = rows(Path::new(folder))?;
    std::fs::write(page, page::page(&rows))?;
    let (run, not_run): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.head.reason.is_empty());
    let failed: Vec<_> = run.iter().filter(|row| !row.passed()).collect();
    for row in &failed {
        let (tried, failed) = row.tried();
        println!("conformance: FAILED, {}: {tried} tried, {failed} failed {}", row.head.title, row.head.fault);
    }
    println!("{} passed, {} failed, {} skipped", run.len() - failed.len(), failed.len(), not_run.len());
    std::process::exit(i32::from(!failed.is_empty()));
}
