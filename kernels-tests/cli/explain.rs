//! `explain`: what it tells, what it leaves behind, and what it refuses.

use std::path::Path;

use serde_json::Value;

use crate::{minoise, refused, said, text, write};

/// A run of these settings on a few icons.
fn learned(out: &str, more: &[&str]) {
    let few = ["epochs=1", "init_epochs=1", "buffer_size=64", "train_per_class=4", "test_per_class=2"];
    let sets = few.iter().chain(more).flat_map(|set| ["--set", set]);
    said(minoise(&["run", "--out", out].into_iter().chain(sets).collect::<Vec<_>>()));
}

/// Two icons as files of the same name.
fn icons(dir: &Path) -> [String; 2] {
    let icons = minoise::data::icons().expect("icons");
    [("a", 0), ("b", 900)].map(|(folder, i)| {
        let picture = icons.test.picture(i).expect("an icon");
        let (width, height) = (picture.width as u32, picture.height as u32);
        let image = image::GrayImage::from_raw(width, height, picture.pixels).expect("as many pixels");
        let file = dir.join(folder).join("icon.png");
        std::fs::create_dir_all(dir.join(folder)).expect("a directory");
        image.save(&file).expect("a file");
        file.to_str().expect("a path").to_string()
    })
}

/// The sorted names of files in a directory, and the JSON among them.
fn found(dir: &str) -> (Vec<String>, Value) {
    let names = std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("a file").file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().expect("a name")).collect();
    names.sort();
    let json = std::fs::read(Path::new(dir).join("explanations.json")).expect("explanations.json");
    (names, serde_json::from_slice(&json).expect("JSON"))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
}

/// Two tasks with noise: the class is that of `predict`, maps, shares and neighbours are there, and files are whole.
#[test]
fn explanations_are_told_and_kept() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name).to_str().expect("a path").to_string();
    let (model, out) = (at("model"), at("out"));
    learned(&model, &["tasks=10,90", "lr=0.5"]);
    let [a, b] = icons(dir.path());
    let told = said(minoise(&["explain", "--checkpoint", &model, "--top", "3", "--out", &out, &a, &b]));
    let (names, json) = found(&out);
    assert_eq!(names, ["001-icon.png", "002-icon.png", "explanations.json", "planes.svg"]);
    assert_eq!(json["overlays"], serde_json::json!(["001-icon.png", "002-icon.png"]));
    for name in &names[..2] {
        let picture = image::open(Path::new(&out).join(name)).expect("a picture");
        assert_eq!((picture.width(), picture.height()), (5 * 224 + 4 * 8, 224));
    }
    let svg = std::fs::read_to_string(Path::new(&out).join("planes.svg")).expect("planes.svg");
    assert!(svg.contains("prototypes of tasks") && svg.contains("means of classes"));
    let predicted = said(minoise(&["predict", "--checkpoint", &model, "--json", &a, &b]));
    for (of, predicted) in json["explanations"].as_array().expect("a list").iter().zip(predicted.lines()) {
        let predicted: Value = serde_json::from_str(predicted).expect("JSON");
        let (score, class) = (&predicted["answers"][0]["score"], &predicted["answers"][0]["class"]);
        assert_eq!([&of["class"], &of["scores"][0]["class"]], [class; 2]);
        let close = of["scores"][0]["score"].as_f64().expect("a score") - score.as_f64().expect("a score");
        assert!(close.abs() < 1e-4, "{close}");
        assert!(told.contains(class.as_str().expect("a name")), "{told}");
        for sight in [&of["sight"], &of["without_noise"]] {
            let [rollout, grad_cam] = ["rollout", "grad_cam"].map(|map| numbers(&sight[map]));
            assert_eq!([rollout.len(), grad_cam.len(), numbers(&sight["features"]).len()], [16, 16, 96]);
            let sum: f64 = rollout.iter().sum();
            assert!((0.01..1.0).contains(&sum) && rollout.iter().all(|&x| x > 0.0), "{rollout:?}");
            assert!(grad_cam.iter().all(|&x| x >= 0.0), "{grad_cam:?}");
        }
        assert_ne!(of["sight"]["rollout"], of["without_noise"]["rollout"]);
        let changes: Vec<f64> = (0..2).map(|i| of["tasks"][i]["change"].as_f64().expect("a change")).collect();
        assert!(changes[0] >= changes[1] && changes[1] > 0.0, "{changes:?}");
        let near = |what: &str| of[what].as_array().map(Vec::len);
        assert_eq!([near("nearest_classes"), near("nearest_tasks"), near("scores")], [Some(3), Some(2), Some(3)]);
        assert!(of["nearest_classes"][0]["cosine"].as_f64().is_some_and(|x| (0.3..=1.0 + 1e-9).contains(&x)));
    }
}

/// With one task, all that its noise changes is all that noise changes.
#[test]
fn the_noise_of_the_only_task_is_all_the_noise() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name).to_str().expect("a path").to_string();
    let (model, out) = (at("model"), at("out"));
    for more in [&["tasks=100", "lr=0.5"][..], &["tasks=100", "profile=robust", "robust.adapt_epochs=1"]] {
        learned(&model, more);
        said(minoise(&["explain", "--checkpoint", &model, "--out", &out, &icons(dir.path())[0]]));
        let (_, json) = found(&out);
        let of = &json["explanations"][0];
        let number = |value: &Value| value.as_f64().expect("a number");
        let change = number(&of["scores"][0]["score"]) - number(&of["scores"][0]["without_noise"]);
        assert!((number(&of["tasks"][0]["score"]) - change).abs() < 1e-6 && change != 0.0, "{more:?}: {change}");
        std::fs::remove_dir_all(&out).expect("a directory");
        std::fs::remove_dir_all(&model).expect("a directory");
    }
}

/// Without noise and statistics there is less to tell, and that is said; what cannot be explained is refused, and leaves nothing.
#[test]
fn what_is_not_there_is_said() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| dir.path().join(name).to_str().expect("a path").to_string();
    let [statistics, solved, out, rival] = ["all.safetensors", "solved.safetensors", "out", "rival"].map(at);
    let sets = ["--set", "buffer_size=64", "--set", "train_per_class=4", "--set", "test_per_class=2"];
    said(minoise(&[&["gather", "--tasks", "0-1", "--out", &statistics][..], &sets].concat()));
    said(minoise(&["solve", &statistics, "--out", &solved]));
    let [image, _] = icons(dir.path());
    let told = said(minoise(&["explain", "--checkpoint", &solved, "--out", &out, &image]));
    assert!(told.contains("no statistics") && !told.contains("nearest"), "{told}");
    let (_, json) = found(&out);
    let of = &json["explanations"][0];
    assert!(of["without_noise"].is_null() && of["scores"][0]["without_noise"].is_null());
    assert_eq!(
        [&of["tasks"], &of["nearest_classes"], &of["nearest_tasks"], &json["planes"]],
        [&serde_json::json!([]); 4]
    );
    let picture = image::open(Path::new(&out).join("001-icon.png")).expect("a picture");
    assert_eq!(picture.width(), 3 * 224 + 2 * 8);
    let bad = write(dir.path(), "bad.png", b"no image");
    let fresh = at("fresh");
    let args = ["explain", "--checkpoint", &solved, "--out", &fresh, &image, bad.to_str().expect("a path")];
    refused(&args, &["bad.png"]);
    refused(&["explain", "--checkpoint", &solved, "--out", &fresh, &at("missing.png")], &["missing.png"]);
    let few = ["--set", "train_per_class=4", "--set", "test_per_class=2", "--set", "tasks=50,50"];
    said(minoise(&[&["run", "--method", "simplecil", "--out", &rival][..], &few].concat()));
    refused(&["explain", "--checkpoint", &rival, "--out", &fresh, &image], &["`min`", "`simplecil`"]);
    assert!(!Path::new(&fresh).exists(), "nothing half-written");
    refused(&["explain", "--checkpoint", &solved, "--out", &image, &image], &["icon.png"]);
    assert!(text(&minoise(&["explain", "--help"]).stdout).contains("--checkpoint"));
}
