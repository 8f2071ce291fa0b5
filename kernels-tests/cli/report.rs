//! The page of runs.

use std::path::Path;

use crate::{minoise, refused, said, write};

fn run(out: &Path, seed: &str) {
    let sets = ["tasks=10,90", "epochs=1", "buffer_size=64", "train_per_class=4", "test_per_class=2"];
    let mut args = vec!["run", "--seed", seed, "--out", out.to_str().expect("a path")];
    args.extend(sets.iter().flat_map(|set| ["--set", set]));
    said(minoise(&args));
}

/// The page of two seeds stands where it is wanted, and is the same when it is made again.
#[test]
fn a_page_tells_of_runs() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [first, second, out] = ["first", "second", "out"].map(|name| dir.path().join(name));
    run(&first, "0");
    run(&second, "1");
    let path = |path: &Path| path.to_str().expect("a path").to_string();
    let report = || said(minoise(&["report", &path(&first), &path(&second), "--out", &path(&out)]));
    assert_eq!(report(), format!("report      {}\n", out.join("report.html").display()));
    let read = |name: &str| std::fs::read(out.join(name)).expect("a file of the report");
    let html = String::from_utf8(read("report.html")).expect("text");
    for words in ["<!DOCTYPE html>", "<td>0, 1</td>", "Mixture weights", "Noise against features", "--seed 1"] {
        assert!(html.contains(words), "`{words}` is not in the page");
    }
    for missing in ["Not recorded", "NaN", "no noise layers"] {
        assert!(!html.contains(missing), "`{missing}` is in the page");
    }
    assert!(read("report.png").starts_with(b"\x89PNG") && read("report.svg").starts_with(b"<svg "));
    report();
    assert_eq!(String::from_utf8(read("report.html")).expect("text"), html);
    // Beside the results of the first unless it is said where.
    said(minoise(&["report", &path(&first)]));
    assert!(first.join("report.html").is_file());
}

/// Nothing is written where anything is wrong.
#[test]
fn a_report_needs_runs_that_can_be_read() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| dir.path().join(name).to_str().expect("a path").to_string();
    refused(&["report", &path("none")], &["none", "results.json"]);
    std::fs::create_dir(dir.path().join("damaged")).expect("a directory");
    write(&dir.path().join("damaged"), "results.json", b"{\"version\":1}");
    refused(&["report", &path("damaged"), "--out", &path("out")], &["damaged", "results.json"]);
    write(dir.path(), "file", b"");
    refused(&["report", &path("damaged"), "--out", &path("file")], &["file"]);
    assert!(!dir.path().join("out").exists());
    let names = std::fs::read_dir(dir.path().join("damaged")).expect("a directory").count();
    assert_eq!(names, 1);
}
