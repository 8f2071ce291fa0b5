//! The program as a user meets it: bad input gives one line, exit code 2, and leaves nothing behind.

#[allow(dead_code)]
#[path = "../readers/files.rs"]
mod files;

mod bench;
mod compare;
mod data;
mod explain;
mod hub;
mod kernels;
mod learned;
mod profile;
mod progress;
mod report;
mod statistics;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels-tests/golden");

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_minoise"));
    command.env("MINOISE_DEVICE", "cpu").env("XDG_RUNTIME_DIR", std::env::temp_dir()).args(args);
    command
}

fn minoise(args: &[&str]) -> Output {
    program(args).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Exit code 2, one line on standard error with all of `words`, no trace of a panic.
fn refused(args: &[&str], words: &[&str]) {
    is_refusal(args, &minoise(args), words);
}

fn is_refusal(args: &[&str], out: &Output, words: &[&str]) {
    let error = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{args:?}: {error}");
    let lines: Vec<_> = error.lines().collect();
    assert!(lines.len() == 1 && lines[0].starts_with("error: "), "{args:?}: {error}");
    assert!(!error.contains("panicked"), "{error}");
    for word in words {
        assert!(lines[0].contains(word), "{args:?}: `{word}` is not in: {}", lines[0]);
    }
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

#[test]
fn an_unknown_device_is_named_with_what_there_is() {
    refused(&["run", "--device", "voodoo 3dfx"], &["voodoo 3dfx", "cpu"]);
    refused(&["verify", "x.safetensors", "--device", "voodoo"], &["voodoo", "cpu"]);
}

#[test]
fn the_cpu_device_is_not_tuned() {
    refused(&["tune"], &["CPU device", "--device"]);
}

#[test]
fn settings_are_refused_with_the_nearest_key_or_the_range() {
    refused(&["run", "--set", "gama=3"], &["`gama`", "`gamma`"]);
    refused(&["run", "--set", "gamma=0"], &["gamma"]);
    refused(&["run", "--set", "gamma=-1"], &["gamma"]);
    refused(&["run", "--set", "gamma=nan"], &["gamma"]);
    refused(&["run", "--set", "lr"], &["lr"]);
    refused(&["run", "--set", "init_classes=101"], &["init_classes", "100"]);
    refused(&["run", "--set", "increment=0"], &["increment"]);
    refused(&["run", "--set", "buffer_size=1000000"], &["buffer_size", "32768"]);
    refused(&["run", "--set", "noise=false", "--set", "weights=icons", "--set", "data=."], &["has no image"]);
    refused(&["run", "--profile", "official", "--set", "phi_layers=2"], &["phi_layers"]);
    refused(&["run", "--config", "no such file.toml"], &["no such file.toml"]);
    refused(&["run", "--profile", "official", "--set", "noise=false"], &["noise", "official"]);
    refused(&["run", "--set", "pipeline=two_step", "--set", "refit=accumulate"], &["refit", "two_step"]);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broken = write(dir.path(), "broken.toml", b"lr = 0.1\nepochs = = 3\n");
    refused(&["run", "--config", broken.to_str().expect("a path")], &["broken.toml", "line 2"]);
}

/// A limit of memory is kept by taking batches in parts, and told; what cannot fit is refused before anything is learned.
#[test]
fn memory_is_planned() {
    let sets = ["train_per_class=4", "test_per_class=1", "tasks=50,50", "epochs=1", "buffer_size=256"];
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let run = |memory| minoise(&["run", "--memory", memory].into_iter().chain(sets.clone()).collect::<Vec<_>>());
    let out = run("13");
    assert!(out.status.success(), "{}", text(&out.stderr));
    let told = text(&out.stdout);
    let line = told.lines().find(|line| line.starts_with("memory: ")).expect("a line on memory");
    assert!(line.contains("of 64 training images at once"), "{line}");
    refused(&["run", "--memory", "4"], &["a training step", "memory_mib", "smaller backbone"]);
    refused(&["run", "--set", "memory_mib=-1"], &["memory_mib"]);
}

#[test]
fn damaged_weights_and_data_are_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let whole = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/weights/vit-icons.safetensors")).expect("weights");
    let set = |path: &Path| format!("weights='{}'", path.display());
    let cut = write(dir.path(), "cut.safetensors", &whole[..whole.len() / 2]);
    refused(&["run", "--set", &set(&cut)], &["cut.safetensors", "not a safetensors file"]);
    let missing = dir.path().join("missing.safetensors");
    refused(&["run", "--set", &set(&missing)], &["missing.safetensors"]);
    // A normalisation that divides by nothing, in place.
    let header = text(&whole[..20_000]);
    let at = header.find(r#""std":"0.5""#).expect("the key stands in the header");
    let mut flat = whole.clone();
    flat[at + 7..at + 10].copy_from_slice(b"0.0");
    refused(&["run", "--set", &set(&write(dir.path(), "flat.safetensors", &flat))], &["`std`", "positive"]);
    // A tensor renamed in place: one missing and one too many.
    let header = text(&whole[..20_000]);
    let at = header.find("blocks.3.norm1.weight").expect("the name stands in the header");
    let mut renamed = whole.clone();
    renamed[at..at + 21].copy_from_slice(b"blocks.3.norm9.weight");
    let renamed = write(dir.path(), "renamed.safetensors", &renamed);
    let both = ["renamed.safetensors", "2 tensors", "blocks.3.norm1.weight", "blocks.3.norm9.weight"];
    refused(&["run", "--set", &set(&renamed)], &both);
    refused(&["inspect", renamed.to_str().expect("a path")], &both);
    refused(&["run", "--set", &format!("data='{}'", dir.path().display())], &["no data set is recognised"]);
    let junk = write(dir.path(), "junk.safetensors", b"\x08\0\0\0\0\0\0\0{}      ");
    refused(&["verify", junk.to_str().expect("a path")], &["junk.safetensors", "not a golden file"]);
}

/// What has a flag of its own is a setting like others, and given once.
#[test]
fn flags_stand_for_settings() {
    for [flag, set] in [["--data", "data"], ["--weights", "weights"], ["--arch", "arch"]] {
        for command in ["run", "profile"] {
            refused(&[command, flag, "one", "--set", &format!("{set} = two")], &["given twice", "one", "two"]);
        }
    }
    refused(&["run", "--data", "no such"], &["no such"]);
    refused(&["profile", "gemm", "--data", "icons"], &["gemm", "no settings"]);
    let rows = ["compare", "--methods", "floor,ncm"];
    refused(&[&rows[..], &["--weights", "icons", "--set", "weights=icons"]].concat(), &["given twice", "weights"]);
}

/// The description of a backbone counts what stands in its file, and names what it would not use.
#[test]
fn inspect_describes_weights() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let inspect = |args: &[&str]| {
        let out = minoise(&[&["inspect"], args].concat());
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
        text(&out.stdout)
    };
    let found: serde_json::Value = serde_json::from_str(&inspect(&["icons", "--json"])).expect("JSON");
    assert_eq!(found["parameters"], 679_200, "weights/README.md");
    assert_eq!(found["tokens"], 17);
    assert_eq!(found["left_aside"], serde_json::json!([]));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&inspect(&["icons", "--json", "--image-size", "64"])).expect("JSON")
            ["tokens"],
        65
    );
    // Without metadata nothing is told but the shapes; a name, or timm's config.json, tells the rest.
    let mut file = files::vit();
    let head = files::Entry { name: "head.bias".into(), dtype: "F16", shape: vec![1], data: vec![0, 0] };
    file.tensors.push(head);
    file.metadata.clear();
    let path = write(dir.path(), "bare.safetensors", &file.bytes());
    let bare = path.to_str().expect("a path");
    refused(&["inspect", bare], &["bare.safetensors", "num_heads", "global_pool", "mean", "--arch"]);
    refused(&["inspect", bare, "--arch", "vit_tiny_patch16_224"], &["num_heads"]);
    refused(&["run", "--weights", bare], &["bare.safetensors", "num_heads", "--arch"]);
    refused(&["run", "--weights", bare, "--arch", "resnet50"], &["resnet50"]);
    refused(&["inspect", bare, "--arch", "resnet50"], &["resnet50"]);
    refused(&["inspect", bare, "--arch", "eva02_tiny_patch14_224"], &["eva02_tiny_patch14_224", "not offered"]);
    let config = r#"{"architecture": "vit_tiny_patch16_224", "model_args": {"num_heads": 2, "img_size": 4},
        "pretrained_cfg": {"mean": [0.1], "std": [0.2], "input_size": [1, 4, 4]}}"#;
    write(dir.path(), "config.json", config.as_bytes());
    let told = inspect(&[bare]);
    for word in ["mean [0.1], std [0.2]", "1 tensors: head.bias", "1 registers", "2 heads", "pooling token"] {
        assert!(told.contains(word), "`{word}` is not in {told}");
    }
    write(dir.path(), "config.json", br#"{"architecture": 3"#);
    refused(&["inspect", bare], &["config.json", "JSON"]);
    write(dir.path(), "config.json", br#"{"architecture": "vit", "global_pool": "map"}"#);
    refused(&["inspect", bare], &["global_pool", "map", "token or avg"]);
}

#[test]
fn an_unwritable_out_fails_before_the_run() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = write(dir.path(), "file", b"");
    let start = std::time::Instant::now();
    refused(&["run", "--out", file.to_str().expect("a path")], &["file"]);
    assert!(start.elapsed().as_secs() < 5, "the directory is tried before the work");
}

/// How often a run is saved means nothing where it is not saved at all. What is wrong with arguments is told in several lines.
#[test]
fn save_every_needs_a_directory() {
    let out = minoise(&["run", "--save-every", "1"]);
    let error = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{error}");
    assert!(["error: ", "--out", "--resume"].iter().all(|word| error.contains(word)), "{error}");
}

/// A short run: `results.json` has every key, the same seed gives the same bytes of results.
#[test]
fn a_run_is_repeatable_and_complete() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let run = |name: &str| {
        let out = dir.path().join(name);
        let args = ["run", "--seed", "3", "--out", out.to_str().expect("a path")];
        let small =
            ["init_classes=3", "increment=97", "epochs=1", "init_epochs=1", "buffer_size=64", "train_per_class=8"];
        let sets: Vec<&str> = small.iter().flat_map(|s| ["--set", s]).collect();
        let output = minoise(&[&args[..], &sets].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let json = std::fs::read_to_string(out.join("results.json")).expect("results.json");
        let mut names: Vec<_> = std::fs::read_dir(&out).expect("out").map(|e| e.expect("a file").file_name()).collect();
        names.sort();
        assert_eq!(names, ["checkpoint.safetensors", "model.safetensors", "results.json"]);
        serde_json::from_str::<serde_json::Value>(&json).expect("JSON")
    };
    let (a, b) = (run("a"), run("b"));
    for key in ["accuracy", "matrix", "confusion", "per_class", "a_last", "a_avg", "forgetting", "bwt", "dispatches"] {
        assert!(!a[key].is_null(), "{key}");
        assert_eq!(a[key], b[key], "{key} repeats");
    }
    for key in ["profile", "device", "seed", "config", "seconds", "peak_device_bytes"] {
        assert!(!a[key].is_null(), "{key}");
    }
    assert_eq!(a["seed"], 3);
    assert_eq!(a["accuracy"].as_array().map(Vec::len), Some(2));
}

#[test]
fn verify_tells_errors_and_what_was_not_run() {
    let golden = |name: &str| format!("{GOLDEN}/{name}.safetensors");
    let out = minoise(&["verify", &golden("run-paper-b"), &golden("vit-dinov2-s14"), "--json"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let replays: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert!(replays[0]["outcome"]["checked"].as_array().is_some_and(|c| c.len() >= 8));
    assert!(replays[1]["outcome"]["not_run"].is_string(), "a file without replay is not run, not passed");
}

/// A golden file whose recorded loss was changed must fail with exit code 1.
#[test]
fn verify_fails_on_a_changed_result() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut bytes = std::fs::read(format!("{GOLDEN}/run-paper-b.safetensors")).expect("golden");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).expect("header");
    let start = header["task1.run.loss"]["data_offsets"][0].as_u64().expect("offset") as usize + 8 + length;
    let loss = f64::from_le_bytes(bytes[start..start + 8].try_into().expect("8 bytes"));
    bytes[start..start + 8].copy_from_slice(&(loss * 1.01).to_le_bytes());
    let path = write(dir.path(), "changed.safetensors", &bytes);
    let out = minoise(&["verify", path.to_str().expect("a path")]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stdout));
    assert!(text(&out.stdout).contains("EXCEEDED"));
}

/// Gives a tensor another shape, and as much data.
fn reshape(file: &mut files::File, name: &str, shape: &[u64]) {
    let tensor = file.tensors.iter_mut().find(|tensor| tensor.name == name).expect("a tensor of the file");
    tensor.shape = shape.to_vec();
    tensor.fit();
}

/// Changes a setting of the case.
fn setting(file: &mut files::File, key: &str, value: &str) {
    let text = &mut file.metadata[0].1;
    let mut case: serde_json::Value = serde_json::from_str(text).expect("JSON");
    case[key] = serde_json::from_str(value).expect("JSON");
    *text = case.to_string();
}

/// Exit code 1 is for results; a file that cannot be replayed is an error that names what is wrong with it.
#[test]
fn malformed_golden_files_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let check = |file: &files::File, words: &[&str]| {
        let path = write(dir.path(), "bad.safetensors", &file.bytes());
        refused(&["verify", path.to_str().expect("a path")], &[&["golden file", "bad.safetensors"], words].concat());
    };
    let ridge = |damage: &dyn Fn(&mut files::File)| {
        let mut file = files::ridge();
        damage(&mut file);
        file
    };
    check(&ridge(&|file| reshape(file, "W", &[])), &["`W`", "[]", "matrix"]);
    check(&ridge(&|file| reshape(file, "W", &[0, 3])), &["`W`", "[0, 3]"]);
    check(&ridge(&|file| reshape(file, "test.p", &[0, 6])), &["`test.p`", "[0, 6]"]);
    check(&ridge(&|file| file.integers("y", &[0, 1, 2, 0, 1, 2, 2, 3])), &["`y`[7] is 3", "below 3"]);
    check(&ridge(&|file| setting(file, "classes", "1152921504606846976")), &["classes", "as in `W`"]);
    check(&ridge(&|file| setting(file, "gamma", "0")), &["gamma", "positive"]);
    for official in [false, true] {
        let run = |damage: &dyn Fn(&mut files::File)| {
            let mut file = files::run(official);
            damage(&mut file);
            file
        };
        check(&run(&|file| file.integers("task0.run.batch_sizes", &[0, 3])), &["batch_sizes", "batch of 0"]);
        check(&run(&|file| file.integers("task0.run.batch_sizes", &[9])), &["batch_sizes", "9"]);
        check(&run(&|file| file.integers("task0.run.order", &[0, 1, 2])), &["image 2", "another task"]);
        check(&run(&|file| file.integers("train.y", &[2, 2, 2, 2, 2])), &["`train.y`", "no image", "0..2"]);
        check(&run(&|file| setting(file, "task_classes", "[2, 18446744073709551615]")), &["task 1"]);
        check(&run(&|file| setting(file, "task_classes", "[]")), &["task_classes"]);
        check(&run(&|file| setting(file, "noise_hidden", "1000000")), &["noise_hidden", "4096"]);
        check(&run(&|file| setting(file, "fit_epochs", "18446744073709551615")), &["fit_epochs", "100"]);
        check(&run(&|file| setting(file, "img_size", "4294967296")), &["img_size"]);
        check(&run(&|file| reshape(file, "buffer.weight", &[8, 0])), &["`buffer.weight`"]);
    }
}

/// What a file brings into a message neither breaks its line nor commands the terminal.
#[test]
fn control_characters_are_told_as_text() {
    refused(&["run", "--set", "a\nb\u{1b}[2J=1"], &["`a\\nb\\u{1b}[2J`"]);
}

/// Settings of short runs on frozen features.
const FROZEN: [&str; 4] = ["noise=false", "init_classes=20", "increment=40", "buffer_size=300"];

fn sets(more: &[&'static str]) -> Vec<&'static str> {
    FROZEN.iter().chain(more).flat_map(|s| ["--set", s]).collect()
}

fn gather(tasks: &str, out: &Path, more: &[&'static str]) -> Output {
    let args = ["gather", "--tasks", tasks, "--out", out.to_str().expect("a path")];
    minoise(&[&args[..], &sets(more)].concat())
}

/// Standard output of a program that succeeds.
fn said(output: Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}
