//! What was run, for `docs/conformance.md`: with `MINOISE_TEST_REPORT=FILE` a JSON object of the devices, with an entry for
//! every kernel. Trials that assert by themselves, of no single kernel, are only counted.

use std::collections::BTreeMap;
use std::sync::Mutex;

use libtest_mimic::Conclusion;
use minoise::device::{AdapterReport, Device};
use serde::Serialize;

#[derive(Clone, Debug, Default, Serialize)]
struct Entry {
    run: usize,
    failed: usize,
    /// Cases by what the device lacks, or why else they were left out.
    not_run: BTreeMap<&'static str, usize>,
    /// Over the cases that passed, in units of the bound.
    largest_error: f64,
    /// On the device, without the twin that judges.
    seconds: f64,
    pipelines: Pipelines,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Pipelines {
    compiled: usize,
    failed: usize,
    seconds: f64,
}

type Kernels = BTreeMap<&'static str, Entry>;

static ADAPTERS: Mutex<Vec<AdapterReport>> = Mutex::new(Vec::new());
static DEVICES: Mutex<BTreeMap<String, Kernels>> = Mutex::new(BTreeMap::new());

/// An adapter that the tests use.
pub fn adapter(adapter: &AdapterReport) {
    ADAPTERS.lock().expect("adapters").push(adapter.clone());
}

fn update(device: &Device, kernel: &'static str, change: impl FnOnce(&mut Entry)) {
    let mut devices = DEVICES.lock().expect("devices");
    change(devices.entry(device.name().into()).or_default().entry(kernel).or_default());
}

pub fn not_run(device: &Device, kernel: &'static str, why: &'static str) {
    update(device, kernel, |entry| *entry.not_run.entry(why).or_default() += 1);
}

/// A case that passed with this largest error, or failed.
pub fn ran(device: &Device, kernel: &'static str, largest_error: Option<f64>, seconds: f64) {
    update(device, kernel, |entry| {
        entry.run += 1;
        entry.failed += usize::from(largest_error.is_none());
        entry.largest_error = entry.largest_error.max(largest_error.unwrap_or(0.0));
        entry.seconds += seconds;
    });
}

/// The pipelines of a kernel, of which some may have failed.
pub fn compiled(device: &Device, kernel: &'static str, count: usize, failed: usize, seconds: f64) {
    let pipelines = Pipelines { compiled: count - failed, failed, seconds };
    update(device, kernel, |entry| entry.pipelines = pipelines);
}

pub fn write(conclusion: &Conclusion) {
    if let Ok(path) = std::env::var("MINOISE_TEST_REPORT") {
        let report = serde_json::json!({
            "adapters": *ADAPTERS.lock().expect("adapters"),
            "devices": *DEVICES.lock().expect("devices"),
            "trials": { "passed": conclusion.num_passed, "failed": conclusion.num_failed },
        });
        let text = serde_json::to_string_pretty(&report).expect("plain data");
        std::fs::write(&path, text + "\n").unwrap_or_else(|e| panic!("{path}: {e}"));
    }
}
