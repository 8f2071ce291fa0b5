//! `minoise bench`

use crate::{minoise, refused, said};

/// With no time at all each problem is verified and sampled once, and the file has what the table has.
#[test]
fn bench_writes_what_it_measured() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("new/bench.json");
    let told = said(minoise(&["bench", "--seconds", "0", "--out", path.to_str().expect("a path")]));
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).expect("the file")).expect("JSON");
    assert_eq!(record["version"], env!("CARGO_PKG_VERSION"));
    assert!(record["device"].as_str().is_some_and(|device| told.contains(device)), "{told}");
    assert_eq!(record["adapter"], serde_json::Value::Null, "the CPU device is no adapter");
    assert_eq!(record["settings"]["seconds"], 0.0);
    assert_eq!(record["failures"], serde_json::json!([]));
    assert!(record["roofline"]["gflops"].as_f64().is_some_and(|gflops| gflops > 0.0));
    let figures = record["figures"].as_array().expect("figures");
    for question in ["products", "attention", "noise", "training step", "inference", "analytic head"] {
        assert!(figures.iter().any(|figure| figure["question"] == question), "{question}");
    }
    for figure in figures {
        assert!(figure["seconds"]["median"].as_f64().is_some_and(|seconds| seconds > 0.0), "{figure}");
        assert_eq!(figure["seconds"]["samples"], 1);
        let row = figure["shape"].as_str().expect("a shape");
        assert!(told.lines().any(|line| line.contains(row)), "{row}: {told}");
    }
    let comparisons = record["comparisons"].as_array().expect("comparisons");
    assert_eq!(comparisons.len(), 4, "the noise layer at two sizes, both ways");
    assert!(comparisons.iter().all(|c| c["variants"] == serde_json::json!(["fused", "unfused"])));
}

#[test]
fn bench_refuses_what_it_cannot_write_or_wait_for() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let start = std::time::Instant::now();
    refused(&["bench", "--out", dir.path().to_str().expect("a path")], &["directory"]);
    assert!(start.elapsed().as_secs() < 5, "the file is tried before the work");
    let out = minoise(&["bench", "--seconds", "-1"]);
    assert_eq!(out.status.code(), Some(2));
}
