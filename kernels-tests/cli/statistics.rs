//! Statistics that are gathered, merged, solved, and forgotten.

use std::path::Path;

use crate::{FROZEN, GOLDEN, gather, minoise, refused, said, sets, write};

fn load(path: &Path) -> minoise::protocol::Archive {
    pollster::block_on(minoise::protocol::Archive::load(path)).expect("statistics")
}

/// What a run learns in one process comes out of two processes as well, in either order, to the last prediction.
#[test]
fn merged_statistics_give_the_classifier_of_the_single_run() {
    use minoise::device::{Device, Precision};
    use minoise::protocol::{self, Archive, Metrics, Model, Watch};

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
        let archive = pollster::block_on(Archive::load(file)).expect("statistics");
        let solution = pollster::block_on(archive.statistics.solve(&device, 10.0, &mut |_| ())).expect("a solution");
        let saved = protocol::save_classifier(&archive, 10.0, &solution, &device, &classifier);
        pollster::block_on(saved).expect("a file");
        let model = pollster::block_on(Model::open(&classifier, &device, None)).expect("a model");
        let judged = pollster::block_on(model.evaluate(&dataset)).expect("test images");
        assert_eq!(judged.accuracy(), results.measured.metrics.a_last);
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
    let archive = load(Path::new(&both));
    let last = archive.classes.last().expect("seven classes");
    let forgot = said(minoise(&["forget", &both, "--class", last, "--out", &left]));
    assert!(forgot.contains("of 6 classes"), "{forgot}");
    let [left_over, never] = [&left, &first].map(|file| {
        let archive = load(Path::new(file));
        let (gram, sums) = pollster::block_on(archive.statistics.export()).expect("in host memory");
        (gram, sums, archive.statistics.counts().to_vec(), archive.classes)
    });
    assert!(left_over == never, "a forgotten class leaves a trace");
    let solved = said(minoise(&["solve", &left, "--evaluate"]));
    assert!(solved.contains("(by generalised cross-validation)"), "{solved}");
    refused(&["forget", &left, "--class", last, "--out", &left], &["--class", last]);
    said(gather("0", Path::new(&plain), &["init_classes=2"]));
    let name = &load(Path::new(&plain)).classes[0];
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
        ("fit=pad", ["views of the images differ", "fit"]),
        ("crop_pct=0.5", ["views of the images differ", "crop_pct"]),
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
    refused(&["solve", cut.to_str().expect("a path")], &["cut", "it is cut off"]);
    refused(&["solve", &format!("{GOLDEN}/ridge-384-c1e7.safetensors")], &["not written by minoise"]);
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
