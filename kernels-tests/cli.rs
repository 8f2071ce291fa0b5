//! The program as a user meets it: bad input gives one line, exit code 2, and leaves nothing behind.

#[allow(dead_code)]
#[path = "readers/files.rs"]
mod files;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels-tests/golden");

fn minoise(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_minoise"));
    command
        .env("MINOISE_DEVICE", "cpu")
        .env("XDG_RUNTIME_DIR", std::env::temp_dir())
        .args(args)
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Exit code 2, one line on standard error with all of `words`, no trace of a panic.
fn refused(args: &[&str], words: &[&str]) {
    let out = minoise(args);
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

/// A short run: `results.json` has every key, the same seed gives the same bytes of results.
#[test]
fn a_run_is_repeatable_and_complete() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let run = |name: &str| {
        let out = dir.path().join(name);
        let args = ["run", "--seed", "3", "--out", out.to_str().expect("a path")];
        let small = ["init_classes=3", "increment=97", "epochs=1", "init_epochs=1", "buffer_size=64", "noise=true"];
        let sets: Vec<&str> = small.iter().flat_map(|s| ["--set", s]).collect();
        let output = minoise(&[&args[..], &sets].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let json = std::fs::read_to_string(out.join("results.json")).expect("results.json");
        assert_eq!(std::fs::read_dir(&out).expect("out").count(), 1, "nothing but results.json");
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

/// What a run learns in one process comes out of two processes as well, in either order, to the last prediction.
#[test]
fn merged_statistics_give_the_classifier_of_the_single_run() {
    use minoise::device::{Device, Precision};
    use minoise::protocol::{self, Archive, Metrics, Watch};

    #[derive(Default)]
    struct Last(Vec<u32>);
    impl Watch for Last {
        fn task(&mut self, _: &Metrics, predicted: &[u32], _: f64) {
            self.0 = predicted.to_vec();
        }
    }

    let dir = tempfile::tempdir().expect("a temporary directory");
    let [a, b, ab, ba] = ["a", "b", "ab", "ba"].map(|name| dir.path().join(name));
    assert!(said(gather("0-1", &a, &[])).contains("samples of 60 classes, m = 300"));
    assert!(said(gather("2", &b, &[])).contains("samples of 40 classes"));
    let path = |p: &Path| p.to_str().expect("a path").to_string();
    for (first, second, out) in [(&a, &b, &ab), (&b, &a, &ba)] {
        said(minoise(&["merge", &path(first), &path(second), "--out", &path(out)]));
    }
    let classifier = dir.path().join("classifier");
    let solved = said(minoise(&["solve", &path(&ab), "--evaluate", "--out", &path(&classifier)]));
    assert!(solved.contains("gamma:    10\n") && solved.contains("of 1732 test images"), "{solved}");
    assert!(std::fs::read(&classifier).is_ok_and(|bytes| bytes.len() > 100 * 300 * 4));

    let owned: Vec<String> = FROZEN.iter().map(|s| s.to_string()).collect();
    let config = minoise::config::Config::load(None, None, &owned).expect("settings");
    let (device, dataset) = (Device::cpu(Precision::F32), minoise::data::icons().expect("icons"));
    let mut single = Last::default();
    let results = pollster::block_on(protocol::run(&config, &device, &dataset, &mut single)).expect("a run");
    for (file, same_order) in [(&ab, true), (&ba, false)] {
        let archive = Archive::load(file).expect("statistics");
        let solution = pollster::block_on(archive.statistics.solve(&device, 10.0, &mut |_| ())).expect("a solution");
        let judged = pollster::block_on(protocol::judge(&archive, &solution.weights, &device, &dataset));
        let judged = judged.expect("test images");
        assert_eq!(judged.accuracy(), results.a_last);
        if same_order {
            assert_eq!(judged.predicted, single.0);
        } else {
            assert_ne!(judged.predicted, single.0, "rows stand in another order");
        }
    }
    // The same classes again are no new ones.
    let doubled = said(minoise(&["merge", &path(&a), &path(&a), "--out", &path(&dir.path().join("aa"))]));
    assert!(doubled.lines().last().is_some_and(|line| line.contains("of 60 classes")), "{doubled}");
    // Another gamma needs no data.
    let other = said(minoise(&["solve", &path(&ab), "--gamma", "1000", "--evaluate"]));
    assert!(other.contains("gamma:    1000\n") && other.contains("accuracy:"), "{other}");
}

/// A forgotten class is as one that was never gathered; gamma can be chosen without data.
#[test]
fn a_class_can_be_forgotten() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name).to_str().expect("a path").to_string();
    let [both, first, left, plain] = ["both", "first", "left", "plain"].map(at);
    let more = ["keep_class_statistics=true", "init_classes=6", "increment=1", "gamma=auto"];
    said(gather("0-1", Path::new(&both), &more));
    said(gather("0", Path::new(&first), &more));
    let archive = minoise::protocol::Archive::load(Path::new(&both)).expect("statistics");
    let last = archive.classes.last().expect("seven classes");
    let forgot = said(minoise(&["forget", &both, "--class", last, "--out", &left]));
    assert!(forgot.contains("of 6 classes"), "{forgot}");
    let [left_over, never] = [&left, &first].map(|file| {
        let archive = minoise::protocol::Archive::load(Path::new(file)).expect("statistics");
        let (gram, sums) = pollster::block_on(archive.statistics.export()).expect("in host memory");
        (gram, sums, archive.statistics.counts().to_vec(), archive.classes)
    });
    assert!(left_over == never, "a forgotten class leaves a trace");
    let solved = said(minoise(&["solve", &left, "--evaluate"]));
    assert!(solved.contains("(by generalised cross-validation)"), "{solved}");
    refused(&["forget", &left, "--class", last, "--out", &left], &["--class", last]);
    said(gather("0", Path::new(&plain), &["init_classes=2"]));
    let name = &minoise::protocol::Archive::load(Path::new(&plain)).expect("statistics").classes[0];
    refused(&["forget", &plain, "--class", name, "--out", &left], &["keep_class_statistics"]);
    refused(&["merge", &plain, &first, "--out", &at("union")], &["keep_class_statistics"]);
}

#[test]
fn statistics_of_other_features_are_not_merged() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name).to_str().expect("a path").to_string();
    let [a, out] = ["a", "out"].map(at);
    let few = ["init_classes=2", "increment=1"];
    said(gather("0", Path::new(&a), &few));
    for (other, words) in [
        ("seed=1", ["random features differ", "seed"]),
        ("buffer_size=299", ["random features differ", "buffer_size"]),
        ("f16_weights=true", ["backbones differ", "f16_weights"]),
    ] {
        let b = at("b");
        said(gather("1", Path::new(&b), &[few[0], few[1], other]));
        refused(&["merge", &a, &b, "--out", &out], &words);
        assert!(!Path::new(&out).exists(), "nothing is written");
    }
}

#[test]
fn damaged_statistics_and_impossible_tasks_are_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name).to_str().expect("a path").to_string();
    let a = at("a");
    said(gather("0", Path::new(&a), &["init_classes=2"]));
    let whole = std::fs::read(&a).expect("statistics");
    let cut = write(dir.path(), "cut", &whole[..whole.len() - 9]);
    refused(&["solve", cut.to_str().expect("a path")], &["statistics", "cut", "not a safetensors file"]);
    refused(&["solve", &format!("{GOLDEN}/ridge-384-c1e7.safetensors")], &["no file of statistics"]);
    refused(&["solve", &at("missing")], &["missing"]);
    refused(&["solve", &a, "--gamma", "-1"], &["gamma"]);
    refused(&["solve", &a, "--gamma", "nan"], &["gamma"]);
    refused(&["merge", &a, &a, "--out", dir.path().to_str().expect("a path")], &["directory"]);
    let gather = |tasks: &str, set: &'static str| {
        let args = ["gather", "--tasks", tasks, "--out", &at("new")].map(str::to_string);
        [&args[..], &sets(&[set]).iter().map(|s| s.to_string()).collect::<Vec<_>>()].concat()
    };
    for (tasks, set, words) in [
        ("3", "seed=0", ["--tasks", "0-2"]),
        ("1-9", "seed=0", ["1-9", "0-2"]),
        ("0", "noise=true", ["`noise`", "false"]),
        ("0", "profile=official", ["`noise`", "official"]),
    ] {
        let args = gather(tasks, set);
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), &words);
    }
    assert!(!Path::new(&at("new")).exists(), "nothing is written");
}

/// Icons of every class in the order of the classes' names: the first four to train, the first two to test.
struct Icons {
    classes: Vec<String>,
    /// Labels and pictures of both splits.
    splits: [(Vec<u8>, Vec<minoise::data::Picture>); 2],
}

fn icons() -> Icons {
    let data = minoise::data::icons().expect("icons");
    let mut order: Vec<usize> = (0..100).collect();
    order.sort_by_key(|&label| &data.classes[label]);
    let first = |images: &minoise::data::Images, n: usize| {
        let (mut labels, mut pictures) = (Vec::new(), Vec::new());
        for (new, &label) in order.iter().enumerate() {
            let of_class = (0..images.len()).filter(|&i| images.labels[i] as usize == label).take(n);
            for i in of_class {
                labels.push(new as u8);
                pictures.push(images.picture(i).expect("an icon"));
            }
        }
        (labels, pictures)
    };
    let splits = [first(&data.train, 4), first(&data.test, 2)];
    Icons { classes: order.iter().map(|&label| data.classes[label].clone()).collect(), splits }
}

impl Icons {
    fn idx(&self, dir: &Path) {
        std::fs::create_dir(dir).expect("a directory");
        write(dir, "classes.txt", self.classes.join("\n").as_bytes());
        for (name, (labels, pictures)) in ["train", "t10k"].iter().zip(&self.splits) {
            let pixels: Vec<u8> = pictures.iter().flat_map(|p| p.pixels.clone()).collect();
            let n = labels.len() as u32;
            write(dir, &format!("{name}-images-idx3-ubyte"), &files::idx(&[n, 32, 32], &pixels));
            write(dir, &format!("{name}-labels-idx1-ubyte"), &files::idx(&[n], labels));
        }
    }

    fn folder(&self, dir: &Path, extension: &str) {
        for (name, (labels, pictures)) in ["train", "test"].iter().zip(&self.splits) {
            for (i, (&label, picture)) in labels.iter().zip(pictures).enumerate() {
                let class = dir.join(name).join(&self.classes[usize::from(label)]);
                std::fs::create_dir_all(&class).expect("a directory");
                let image = image::GrayImage::from_raw(32, 32, picture.pixels.clone()).expect("32 x 32");
                let path = class.join(format!("{i:04}.{extension}"));
                match extension {
                    "jpg" => {
                        let mut bytes = Vec::new();
                        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
                        image.write_with_encoder(encoder).expect("into memory");
                        std::fs::write(path, bytes).expect("a temporary file");
                    }
                    _ => image.save(path).expect("a temporary file"),
                }
            }
        }
    }

    /// CIFAR-100, binary or python: grey in three channels.
    fn cifar(&self, dir: &Path, python: bool) {
        std::fs::create_dir(dir).expect("a directory");
        for (name, (labels, pictures)) in ["train", "test"].iter().zip(&self.splits) {
            let planes = |p: &minoise::data::Picture| p.pixels.repeat(3);
            if python {
                let pixels: Vec<u8> = pictures.iter().flat_map(planes).collect();
                write(dir, name, &files::cifar_python("fine_labels", labels, &pixels));
            } else {
                let record = |(&label, p)| [vec![label / 5, label], planes(p)].concat();
                let records: Vec<u8> = labels.iter().zip(pictures).flat_map(record).collect();
                write(dir, &format!("{name}.bin"), &records);
            }
        }
        if python {
            let names = self.classes.iter().flat_map(|name| [&[b'U', name.len() as u8], name.as_bytes()].concat());
            let names: Vec<u8> = names.collect();
            write(
                dir,
                "meta",
                &[b"\x80\x02}q\x01U\x10fine_label_namesq\x02](".to_vec(), names, b"es.".to_vec()].concat(),
            );
        } else {
            write(dir, "fine_label_names.txt", (self.classes.join("\n") + "\n\n").as_bytes());
        }
    }
}

/// Results of a short run on `data`, and what it said.
fn learned(data: &Path, out: &Path, more: &[&str]) -> (serde_json::Value, String) {
    let data = format!("data='{}'", data.display());
    let args = ["run", "--out", out.to_str().expect("a path"), "--set", &data];
    let more: Vec<&str> = FROZEN.iter().chain(more).flat_map(|s| ["--set", s]).collect();
    let said = said(minoise(&[&args[..], &more].concat()));
    let json = std::fs::read_to_string(out.join("results.json")).expect("results.json");
    (serde_json::from_str(&json).expect("JSON"), said)
}

/// The same icons give the same predictions, whatever the files that they come in; JPEG loses a little.
#[test]
fn every_format_of_the_same_images_learns_the_same() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name);
    let icons = icons();
    icons.idx(&at("idx"));
    icons.folder(&at("png"), "png");
    icons.folder(&at("jpg"), "jpg");
    icons.cifar(&at("binary"), false);
    icons.cifar(&at("python"), true);
    let (idx, said) = learned(&at("idx"), &at("out"), &[]);
    assert!(said.contains("idx, 100 classes, 400 training and 200 test images"), "{said}");
    for format in ["png", "binary", "python"] {
        let (other, _) = learned(&at(format), &at("out"), &[]);
        assert_eq!(other["accuracy"], idx["accuracy"], "{format}");
        assert_eq!(other["confusion"], idx["confusion"], "{format}");
    }
    let last = |results: &serde_json::Value| results["a_last"].as_f64().expect("a share");
    let (jpg, _) = learned(&at("jpg"), &at("out"), &[]);
    assert!((last(&jpg) - last(&idx)).abs() <= 0.03 && last(&idx) > 0.3, "{} {}", last(&jpg), last(&idx));
    // Training with noise and random changes, on tasks as listed; the same again.
    let more = ["tasks=3,97", "noise=true", "augment=true", "epochs=1", "init_epochs=1", "holdout=0.25"];
    let run = || {
        let data = format!("data='{}'", at("png").display());
        let args = ["run", "--out", dir.path().to_str().expect("a path"), "--set", &data, "--set", "buffer_size=64"];
        let output = minoise(&[&args[..], &more.iter().flat_map(|s| ["--set", s]).collect::<Vec<_>>()].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("300 training and 100 held-out images"), "{}", text(&output.stdout));
        let json = std::fs::read_to_string(dir.path().join("results.json")).expect("results.json");
        serde_json::from_str::<serde_json::Value>(&json).expect("JSON")
    };
    let (a, b) = (run(), run());
    assert_eq!(a["accuracy"].as_array().map(Vec::len), Some(2));
    assert_eq!(a["confusion"], b["confusion"]);
    assert!(a["seconds"]["data"].is_f64());
}

#[test]
fn data_check_tells_what_is_wrong_with_a_folder() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = dir.path().join("data");
    icons().folder(&root, "png");
    let path = root.to_str().expect("a path");
    let whole = minoise(&["data", "check", path]);
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole.stderr));
    let lines = text(&whole.stdout);
    for words in ["100 classes, 400 training images, 200 test images", "32 x 32 (600); 600 grey", "unreadable  0"] {
        assert!(lines.contains(words), "{lines}");
    }
    let class = std::fs::read_dir(root.join("train")).expect("classes").next().expect("a class").expect("a class");
    let mut images: Vec<_> =
        std::fs::read_dir(class.path()).expect("images").map(|e| e.expect("an image").path()).collect();
    images.sort();
    let test = root.join("test").join(class.file_name()).join("copy.png");
    std::fs::copy(&images[0], test).expect("a copy");
    let bytes = std::fs::read(&images[1]).expect("an image");
    std::fs::write(&images[1], &bytes[..bytes.len() / 2]).expect("a cut");
    let out = minoise(&["data", "check", path, "--json"]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stderr));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let name = images[1].to_str().expect("a path");
    assert_eq!(report["unreadable"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["unreadable"][0]["image"], name);
    let across = report["duplicates"]["across"].as_array().expect("pairs");
    assert!(across.iter().any(|pair| pair[0].as_str().is_some_and(|test| test.ends_with("copy.png"))), "{across:?}");
    // A run names the image, or leaves it out.
    let data = format!("data='{path}'");
    let args = ["run", "--set", &data, "--set", "noise=false", "--set", "buffer_size=64", "--set", "tasks=100"];
    refused(&args, &[name, "no readable image"]);
    let skipped = said(minoise(&[&args[..], &["--set", "skip_bad=true"]].concat()));
    assert!(skipped.contains("399 training and 201 test images, 1 unreadable left out"), "{skipped}");
    refused(&["data", "check", "no/such/folder"], &["no/such/folder"]);
}
