//! What was run, for `docs/conformance.md`: with `MINOISE_TEST_REPORT=FILE` a JSON list, one entry for every device and
//! kernel. Trials that assert by themselves, of no single kernel, are not in it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use minoise::device::Device;
use serde::Serialize;

#[derive(Clone, Debug, Default, Serialize)]
struct Entry {
    run: usize,
    failed: usize,
    /// Cases by what the device lacks.
    not_run: BTreeMap<&'static str, usize>,
    /// Over the cases that passed, in units of the bound.
    largest_error: f64,
    /// On the device, without the twin that judges.
    seconds: f64,
}

#[derive(Serialize)]
struct Line<'a> {
    device: &'a str,
    kernel: &'a str,
    #[serde(flatten)]
    entry: &'a Entry,
}

static ENTRIES: Mutex<BTreeMap<(String, &'static str), Entry>> = Mutex::new(BTreeMap::new());

fn update(device: &Device, kernel: &'static str, change: impl FnOnce(&mut Entry)) {
    let mut entries = ENTRIES.lock().expect("entries");
    change(entries.entry((device.name().into(), kernel)).or_default());
}

pub fn not_run(device: &Device, kernel: &'static str, missing: &'static str) {
    update(device, kernel, |entry| *entry.not_run.entry(missing).or_default() += 1);
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

pub fn write() {
    if let Ok(path) = std::env::var("MINOISE_TEST_REPORT") {
        let entries = ENTRIES.lock().expect("entries");
        let lines: Vec<_> = entries.iter().map(|((device, kernel), entry)| Line { device, kernel, entry }).collect();
        let text = serde_json::to_string_pretty(&lines).expect("plain data");
        std::fs::write(&path, text + "\n").unwrap_or_else(|e| panic!("{path}: {e}"));
    }
}
