//! What a run leaves behind: it goes on after any interruption, predicts, is judged, and learns more classes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::{minoise, refused, said, text, write};

/// Settings of a run of four tasks, so short that it can be killed often.
const SHORT: [&str; 6] =
    ["tasks=10,5,5,80", "epochs=1", "init_epochs=1", "buffer_size=64", "train_per_class=4", "test_per_class=2"];

fn run_args(out: &Path, more: &[&str]) -> Vec<String> {
    let mut args: Vec<String> = ["run", "--save-every", "0", "--out"].map(String::from).to_vec();
    args.push(out.display().to_string());
    for set in SHORT.iter().chain(more) {
        args.extend(["--set".into(), set.to_string()]);
    }
    args
}

fn run(args: &[String]) -> std::process::Output {
    minoise(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// `results.json` without times and what depends on the process.
fn results(dir: &Path) -> Value {
    let text = std::fs::read_to_string(dir.join("results.json")).expect("results.json");
    let mut value: Value = serde_json::from_str(&text).expect("JSON");
    for key in ["seconds", "seconds_per_task", "peak_host_bytes", "peak_device_bytes", "peak_by_phase"] {
        value.as_object_mut().expect("an object").remove(key);
    }
    value
}

/// Killed at any moment, during saves as well, and resumed, a run ends as one that was left alone. `MINOISE_KILLS=N` kills N times
/// in all, instead of 8.
#[test]
fn a_killed_run_goes_on_to_the_same_results() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let wanted: u64 = std::env::var("MINOISE_KILLS").map_or(8, |n| n.parse().expect("MINOISE_KILLS is a number"));
    let kinds = [
        &[][..],
        &["profile=official", "fit_epochs=1"],
        &["refit=accumulate", "optimizer=adamw", "gamma=auto"],
        &["profile=robust", "robust.adapt_epochs=2"],
    ];
    for more in kinds {
        let whole = dir.path().join("whole");
        let begun = std::time::Instant::now();
        said(run(&run_args(&whole, more)));
        let length = begun.elapsed();
        let (expected, cut) = (results(&whole), dir.path().join("cut"));
        let (mut kills, mut case) = (0, 0);
        while kills < wanted.div_ceil(kinds.len() as u64) {
            // Moments that fall anywhere in the run.
            case += 1;
            let wait = length.mul_f64((case as f64 * 0.618_034).fract());
            let args = match cut.join("checkpoint.safetensors").exists() {
                true => {
                    ["run", "--save-every", "0", "--resume", cut.to_str().expect("a path")].map(String::from).to_vec()
                }
                false => run_args(&cut, more),
            };
            let mut child = Command::new(env!("CARGO_BIN_EXE_minoise"))
                .env("MINOISE_DEVICE", "cpu")
                .args(&args)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the program starts");
            std::thread::sleep(wait.min(Duration::from_secs(20)));
            child.kill().expect("it can be killed");
            if child.wait().expect("it ends").success() {
                // It was done before; the next kills are those of another run.
                assert_eq!(results(&cut), expected, "{more:?}");
                std::fs::remove_dir_all(&cut).expect("a directory");
            } else {
                kills += 1;
            }
        }
        if cut.join("checkpoint.safetensors").exists() {
            let resumed = said(minoise(&["run", "--resume", cut.to_str().expect("a path")]));
            assert!(resumed.contains("resumed:"), "{resumed}");
        } else {
            said(run(&run_args(&cut, more)));
        }
        assert_eq!(results(&cut), expected, "{more:?}");
        let model = |dir: &Path| std::fs::read(dir.join("model.safetensors")).expect("a model");
        assert!(model(&whole) == model(&cut), "{more:?}: the models differ");
        std::fs::remove_dir_all(&whole).expect("a directory");
        std::fs::remove_dir_all(&cut).expect("a directory");
    }
}

/// A folder of icons of some classes.
fn folder(dir: &Path, classes: std::ops::Range<u32>) {
    let icons = minoise::data::icons().expect("icons");
    for (split, images) in [("train", &icons.train), ("test", &icons.test)] {
        let mut counts = std::collections::HashMap::new();
        for i in 0..images.len() {
            let label = images.labels[i];
            let count: &mut usize = counts.entry(label).or_default();
            if !classes.contains(&label) || *count == 6 {
                continue;
            }
            let picture = images.picture(i).expect("an icon");
            let class = dir.join(split).join(&icons.classes[label as usize]);
            std::fs::create_dir_all(&class).expect("a directory");
            let (width, height) = (picture.width as u32, picture.height as u32);
            let image = image::GrayImage::from_raw(width, height, picture.pixels).expect("as many pixels");
            image.save(class.join(format!("{count}.png"))).expect("a file");
            *count += 1;
        }
    }
}

/// A model is taken out of a run, predicts, is judged, learns further classes, and knows all of them.
#[test]
fn a_model_predicts_and_learns_more() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name).to_str().expect("a path").to_string();
    let [first, second, out, both] = ["first", "second", "out", "both"].map(at);
    folder(Path::new(&first), 0..6);
    folder(Path::new(&second), 6..10);
    let data = format!("data={first}");
    let sets = ["--set", &data, "--set", "tasks=3,3", "--set", "epochs=1", "--set", "buffer_size=128"];
    said(minoise(&[&["run", "--out", &out][..], &sets].concat()));
    let icons = minoise::data::icons().expect("icons");
    let image = |data: &str, class: u32| format!("{data}/train/{}/0.png", icons.classes[class as usize]);
    let known = image(&first, 2);
    let told = said(minoise(&["predict", "--checkpoint", &out, "--json", "--top", "2", &known]));
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["answers"].as_array().map(Vec::len), Some(2));
    assert_eq!(told["answers"][0]["class"], icons.classes[2].as_str(), "{told}");
    let score = |i: usize| told["answers"][i]["softened"].as_f64().expect("a number");
    assert!(score(0) > score(1) && score(0) <= 1.0);
    // Bad images are named, or counted.
    let bad = write(dir.path(), "bad.png", b"no image");
    let bad = bad.to_str().expect("a path");
    refused(&["predict", "--checkpoint", &out, &known, bad], &["bad.png"]);
    let skipped = minoise(&["predict", "--checkpoint", &out, "--skip-bad", &known, bad]);
    assert!(skipped.status.success() && text(&skipped.stderr).contains("1 left out"), "{}", text(&skipped.stderr));
    refused(&["predict", "--checkpoint", &at("missing"), &known], &["missing"]);
    refused(&["predict", "--checkpoint", &known, &known], &["0.png"]);
    // Both directories are judged alone and together.
    let judged = said(minoise(&["eval", "--checkpoint", &out]));
    assert!(judged.contains("% of 36 test images"), "{judged}");
    refused(&["eval", "--checkpoint", &out, "--data", &second], &["no test image"]);
    refused(&["add", "--checkpoint", &out, "--data", &first, "--out", &both], &["learned already"]);
    refused(&["add", "--checkpoint", &out, "--data", &second, "--set", "buffer_size=3"], &["buffer_size", "model"]);
    said(minoise(&["add", "--checkpoint", &out, "--data", &second, "--tasks", "2,2", "--out", &both]));
    for (data, unjudged) in [(&first, 4), (&second, 6)] {
        let judged = said(minoise(&["eval", "--checkpoint", &both, "--data", data]));
        assert!(judged.contains(&format!("note:     {unjudged} classes were learned")), "{judged}");
    }
    let told = said(minoise(&["predict", "--checkpoint", &both, &image(&second, 7)]));
    assert!(told.lines().nth(1).is_some_and(|line| line.ends_with(&icons.classes[7])), "{told}");
    // The old model is as it was.
    assert!(said(minoise(&["eval", "--checkpoint", &out])).contains("% of 36 test images"));
}

/// A finished run is replaced, an unfinished one is not; a damaged checkpoint is named, and other data are refused.
#[test]
fn checkpoints_that_do_not_fit_are_refused() {
    use minoise::config::Config;
    use minoise::device::{Device, Precision};
    use minoise::protocol::{Session, Unwatched};
    use pollster::block_on;

    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = dir.path().join("out");
    let name = out.to_str().expect("a path");
    let sets: Vec<String> = SHORT.iter().map(|set| set.to_string()).collect();
    let config = Config::load(None, None, &sets).expect("settings");
    let dataset = minoise::data::load("icons", &config.images).expect("icons");
    let device = Device::cpu(Precision::F32);
    let mut session = Session::new(&config, &device, &dataset).expect("a run");
    for _ in 0..3 {
        block_on(session.step(&mut Unwatched)).expect("a step");
    }
    block_on(session.save(&out)).expect("a checkpoint");
    let [fresh, other] = [run_args(&out, &[]), run_args(&out, &["seed=1"])];
    for args in [fresh, other] {
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), &["unfinished", "--resume"]);
    }
    let other = minoise::data::icons().expect("icons");
    let error = block_on(Session::resume(&out, &device, &other)).expect_err("other images");
    assert!(error.to_string().contains("`data`"), "{error}");
    let file = out.join("checkpoint.safetensors");
    let whole = std::fs::read(&file).expect("a checkpoint");
    let mut damaged = whole.clone();
    damaged[whole.len() - 1] ^= 1;
    for (bytes, word) in [(&damaged[..], "checksum"), (&whole[..whole.len() - 1], "cut off"), (&whole[..5], "cut off")]
    {
        std::fs::write(&file, bytes).expect("a file");
        refused(&["run", "--resume", name], &["checkpoint.safetensors", word]);
    }
    std::fs::write(&file, &whole).expect("a file");
    let resumed = said(minoise(&["run", "--resume", name]));
    assert!(resumed.contains("resumed: 0 of 4 tasks are done"), "{resumed}");
    // A run that is over may be replaced, or resumed, which does nothing.
    assert!(said(minoise(&["run", "--resume", name])).contains("resumed: 4 of 4 tasks are done"));
    said(run(&run_args(&out, &[])));
}
