//! Methods beside each other: one folder, gone on with after any interruption.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{minoise, program, refused, said, text};

/// Settings of runs of three tasks, so short that there can be many.
const SHORT: [&str; 5] = ["tasks=10,10,80", "epochs=1", "buffer_size=64", "train_per_class=4", "test_per_class=2"];

fn args(out: &Path, seeds: &str, more: &[&str]) -> Vec<String> {
    let mut args = ["compare", "--methods", "floor,paper", "--seeds", seeds, "--out"].map(String::from).to_vec();
    args.push(out.display().to_string());
    args.extend(SHORT.iter().flat_map(|set| ["--set".into(), set.to_string()]));
    args.extend(more.iter().map(|arg| arg.to_string()));
    args
}

fn compare(args: &[String]) -> Output {
    minoise(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Takes out what two comparisons of the same may differ by.
fn timeless(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for key in ["command", "seconds", "peak_device_bytes"] {
                fields.remove(key);
            }
            fields.values_mut().for_each(timeless);
        }
        Value::Array(items) => items.iter_mut().for_each(timeless),
        _ => {}
    }
}

fn json(dir: &Path) -> Value {
    let mut value = serde_json::from_str(&read(dir, "comparison.json")).expect("JSON");
    timeless(&mut value);
    value
}

/// The columns of the CSV but those of times and memory.
fn csv(dir: &Path) -> BTreeMap<String, Vec<String>> {
    let text = read(dir, "comparison.csv");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert!(rows.len() == 3 && rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
    let column = |i: usize| (rows[0][i].to_string(), rows[1..].iter().map(|row| row[i].to_string()).collect());
    let mut columns: BTreeMap<String, Vec<String>> = (0..rows[0].len()).map(column).collect();
    for name in ["seconds_mean", "peak_device_bytes"] {
        assert!(columns.remove(name).is_some(), "{name}");
    }
    columns
}

/// Killed within the runs of the second method and called again, a comparison ends with the tables of one that was left alone.
#[test]
fn a_killed_comparison_goes_on_to_the_same_tables() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [whole, cut] = ["whole", "cut"].map(|name| dir.path().join(name));
    let out = compare(&args(&whole, "2", &[]));
    let told = text(&out.stderr);
    let shown = said(out);
    for line in ["epochs=1 is left out of floor", "floor, seed 0: A_last", "paper, seed 1: A_last"] {
        assert!(told.contains(line), "`{line}` is not in {told}");
    }
    for words in
        ["| floor | ", "| paper | ", "Differences to `floor`", "minoise compare --methods floor,paper --seeds 2"]
    {
        assert!(shown.contains(words), "`{words}` is not in {shown}");
    }
    assert_eq!(read(&whole, "comparison.md"), shown);

    let mut child = program(&args(&cut, "2", &[]).iter().map(String::as_str).collect::<Vec<_>>())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let begun = Instant::now();
    while !cut.join("paper/seed-0/checkpoint.safetensors").exists() {
        assert!(begun.elapsed() < Duration::from_secs(300), "the second method has not begun");
        assert!(child.try_wait().expect("a child").is_none(), "it is over before it can be killed");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("it can be killed");
    assert!(!child.wait().expect("it ends").success(), "it was done before it was killed");
    assert!(!cut.join("comparison.json").exists());
    let out = compare(&args(&cut, "2", &[]));
    let told = text(&out.stderr);
    said(out);
    for line in ["floor, seed 0: read", "floor, seed 1: read", "paper, seed 1: A_last"] {
        assert!(told.contains(line), "`{line}` is not in {told}");
    }
    assert_eq!(json(&cut), json(&whole));
    assert_eq!(csv(&cut), csv(&whole));

    // Every run is what `minoise run` makes of the same settings.
    let alone = dir.path().join("alone");
    let mut run = ["run", "--seed", "1", "--profile", "paper", "--out"].map(String::from).to_vec();
    run.push(alone.display().to_string());
    run.extend(SHORT.iter().flat_map(|set| ["--set".into(), set.to_string()]));
    said(compare(&run));
    let results: Value = serde_json::from_str(&read(&alone, "results.json")).expect("JSON");
    let compared = json(&whole);
    assert_eq!(compared["rows"][1]["runs"][1]["a_avg"], results["a_avg"]);
    let model = std::fs::metadata(alone.join("model.safetensors")).expect("a model").len();
    assert_eq!(compared["rows"][1]["runs"][1]["stored_bytes"], model);
    // 6 layers of 3 modules, 4 maps 48 x 48 with bias, and as many logits.
    assert_eq!(compared["rows"][1]["runs"][1]["trained"], 6 * 3 * (4 * (48 * 48 + 48) + 1));
    assert_eq!(compared["rows"][0]["runs"][1]["trained"], 0);

    // Other settings are another comparison.
    let out = compare(&args(&whole, "2", &["--set", "buffer_size=32"]));
    assert_eq!(out.status.code(), Some(2));
    let told = text(&out.stderr);
    let last = told.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: ") && last.contains("`buffer_size`") && last.contains("--out"), "{told}");
}

/// Rates are chosen by held-out training images, the same number for every method that is trained.
#[test]
fn trials_are_recorded() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = dir.path().join("out");
    said(compare(&args(&out, "1", &["--trials", "3"])));
    let compared = json(&out);
    assert_eq!(compared["rows"][0]["choice"], Value::Null);
    let choice = &compared["rows"][1]["choice"];
    let trials = choice["trials"].as_array().expect("trials");
    let figure = |value: &Value, key: &str| value[key].as_f64().expect("a number");
    let rates: Vec<f64> = trials.iter().map(|trial| figure(trial, "value")).collect();
    assert_eq!((&choice["setting"], rates.len(), rates[0]), (&"lr".into(), 3, 0.1));
    let best = trials.iter().map(|trial| figure(trial, "a_avg")).fold(f64::MIN, f64::max);
    let chosen = trials.iter().find(|trial| trial["value"] == choice["value"]).expect("one of the trials");
    assert_eq!(figure(chosen, "a_avg"), best);
    for (part, lr, holdout) in [("trial-1", rates[1], 0.1), ("seed-0", figure(choice, "value"), 0.0)] {
        let results: Value = serde_json::from_str(&read(&out.join("paper").join(part), "results.json")).expect("JSON");
        assert_eq!((figure(&results["config"], "lr"), figure(&results["config"], "holdout")), (lr, holdout), "{part}");
    }
}

/// A method whose training diverges has no figures; the others are finished, and the exit code tells.
#[test]
fn a_method_without_a_result_is_told_and_the_others_are_finished() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, trials) in [("plain", "0"), ("tried", "3")] {
        let out = dir.path().join(name);
        let mut args = args(&out, "2", &["--trials", trials, "--set", "lr=1e38"]);
        args[2] = "l2p,floor".into();
        let output = compare(&args);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("lost: ") && told.contains("not finite: lower lr"), "{told}");
        assert!(text(&output.stdout).contains("| l2p | lost | | | | | | |"), "{}", text(&output.stdout));
        let [lost, floor] = [0, 1].map(|i| json(&out)["rows"][i].clone());
        assert!(lost["lost"].is_string() && lost["a_avg"].is_null() && lost["runs"] == Value::Array(vec![]), "{lost}");
        assert!(floor["lost"].is_null() && floor["a_avg"]["mean"].is_number() && floor["runs"][1].is_object());
        let trials = lost["choice"]["trials"].as_array().map_or(0, Vec::len);
        assert_eq!(trials, if name == "tried" { 3 } else { 0 });
        // Called again, it comes to the same.
        assert_eq!(compare(&args).status.code(), Some(1));
    }
}

/// Without a directory there is the table alone.
#[test]
fn parts_of_a_profile_are_taken_away() {
    let sets = ["tasks=10,90", "epochs=1", "buffer_size=64", "train_per_class=2", "test_per_class=1"];
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let shown = said(minoise(&["ablate", "--profile", "paper"].into_iter().chain(sets).collect::<Vec<_>>()));
    for row in ["floor", "expansion", "initial-weights", "weight-learning", "three-steps"] {
        assert!(shown.lines().any(|line| line.starts_with(&format!("| {row} | "))), "{row} is not in {shown}");
    }
    refused(&["ablate", "--profile", "official"], &["official", "paper", "robust"]);
}

#[test]
fn what_cannot_be_compared_is_refused_at_once() {
    refused(&["compare", "--methods", "floor,voodoo"], &["`voodoo`", "floor, paper, official, robust", "simplecil"]);
    refused(&["compare", "--methods", "paper,paper"], &["`paper`", "twice"]);
    refused(&["compare", "--methods", "floor,paper", "--set", "gama=3"], &["`gama`", "`gamma`"]);
    refused(&["compare", "--methods", "paper", "--set", "seed=3"], &["`seed`"]);
    refused(&["compare", "--methods", "paper", "--trials", "3", "--set", "holdout=0.2"], &["`holdout`", "--trials"]);
    refused(&["compare", "--methods", "floor", "--device", "voodoo"], &["voodoo", "cpu"]);
    let out = minoise(&["compare", "--methods", "floor", "--trials", "2"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("0 or 3"), "{}", text(&out.stderr));
}
