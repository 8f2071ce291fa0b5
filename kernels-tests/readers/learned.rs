//! What runs leave behind, of every kind of method: damaged at random, and changed into what another task would have left.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use minoise::config::{Config, Gamma, Method, OptimizerKind, Profile};
use minoise::data::{self, Dataset};
use minoise::device::{Device, Precision};
use minoise::protocol::{Model, Progress, Session, Unwatched};
use minoise::{Error, Result, store};
use pollster::block_on;
use rand::RngExt;
use rand_chacha::ChaCha8Rng as Rng;
use serde_json::{Value, json};

use super::files::{self, File};
use super::{Folder, NAME, fuzz, memory, mutate};

/// Steps that a run takes from a damaged checkpoint that was accepted.
const STEPS: usize = 4;

/// Nine images of three classes.
fn patterns(dir: &Path) -> Dataset {
    for (split, labels) in [("train", &[0, 1, 2, 0, 1, 2][..]), ("t10k", &[2, 0, 1])] {
        let n = labels.len() as u32;
        let pixels: Vec<u8> = (0..16 * n).map(|i| (i * 37 % 251) as u8).collect();
        let parts = [("images-idx3", files::idx(&[n, 4, 4], &pixels)), ("labels-idx1", files::idx(&[n], labels))];
        for (name, bytes) in parts {
            std::fs::write(dir.join(format!("{split}-{name}-ubyte")), bytes).expect("a temporary file");
        }
    }
    data::load(dir.to_str().expect("a path"), &data::Settings::default()).expect("a data set")
}

fn min(profile: Profile) -> Config {
    let official = profile == Profile::Official;
    let mut config = Config {
        noise_hidden: 3,
        buffer_size: 6,
        gamma: Gamma::Value(1.0),
        keep_class_statistics: official,
        optimizer: if official { OptimizerKind::Adamw } else { OptimizerKind::Sgd },
        batch_size: 3,
        ..Config::of(profile)
    };
    if profile == Profile::Robust {
        config.robust.adapt_epochs = 1;
    }
    config
}

/// Settings of a method for a backbone of one block.
fn rival(method: Method) -> Config {
    let mut config = Config { batch_size: 3, ..Config::of_method(method) };
    match method {
        Method::Ease => config.ease.hidden = 2,
        Method::Slca => (config.slca.ca_epochs, config.slca.ca_samples) = (1, 3),
        Method::L2p => (config.l2p.pool, config.l2p.length, config.l2p.top_k) = (3, 2, 2),
        Method::DualPrompt => {
            let of = &mut config.dualprompt;
            (of.pool, of.g_length, of.e_length) = (2, 1, 2);
            (of.g_layers, of.e_layers) = (vec![0], vec![0]);
        }
        Method::Coda => {
            let of = &mut config.coda;
            (of.pool, of.tasks, of.length, of.e_layers) = (4, 2, 2, vec![0]);
        }
        _ => config.ranpac.projection = 6,
    }
    config
}

/// RanPAC on adapters that the first task trains, or on the backbone alone.
fn ranpac(adapters: bool) -> Config {
    let mut config = rival(Method::RanPac);
    config.ranpac.adapters = adapters;
    if adapters { config } else { Config { ranpac: config.ranpac, ..Config::of_method(Method::RanPac) } }
}

/// The settings of all runs.
fn runs() -> Vec<Config> {
    let mut runs = [Profile::Paper, Profile::Official, Profile::Robust].map(min).to_vec();
    runs.extend([Method::Ease, Method::Slca, Method::L2p, Method::DualPrompt, Method::Coda].map(rival));
    runs.extend([true, false].map(ranpac));
    runs
}

/// Learns two tasks in `dir`: the checkpoints after every step, to the last one, and the model at the end.
fn learned(config: Config, dataset: &Dataset, dir: &Path) -> (Vec<File>, File) {
    // The same name whenever the test runs, as it stands in the settings, which are damaged.
    let weights = concat!(env!("CARGO_TARGET_TMPDIR"), "/fuzz-backbone.safetensors");
    store::replace(Path::new(weights), &files::vit().bytes()).expect("a file");
    let trains = !matches!(config.method, Method::RanPac) || config.ranpac.adapters;
    let config = Config {
        lr: if trains { 0.01 } else { config.lr },
        epochs: if trains { 2 } else { config.epochs },
        init_epochs: if trains { 2 } else { config.init_epochs },
        fit_batch: 3,
        init_classes: 2,
        increment: 1,
        images: data::Settings::default(),
        weights: weights.into(),
        ..config
    };
    let read = |name: &str| files::unsealed(&std::fs::read(dir.join(name)).expect("a file"));
    let mut session = Session::new(&config, &Device::cpu(Precision::F32), dataset).expect("a run");
    let mut checkpoints = Vec::new();
    while block_on(session.step(&mut Unwatched)).expect("a step") != Progress::Done {
        block_on(session.save(dir)).expect("a checkpoint");
        checkpoints.push(read("checkpoint.safetensors"));
    }
    (checkpoints, read("model.safetensors"))
}

/// Damage behind right checksums most of the time, else to the bytes alone.
fn damaged(file: &File, rng: &mut Rng) -> Vec<u8> {
    if rng.random_bool(0.9) {
        return mutate::damaged_as(file, rng, files::sealed);
    }
    let mut bytes = files::sealed(file);
    mutate::raw(&mut bytes, rng);
    bytes
}

/// Settings in a file are known by their keys, and a backbone that they lead to by its own name.
fn named(outcome: Result<()>) -> Result<()> {
    outcome.map_err(|error| {
        let known = match &error {
            Error::Weights { .. } | Error::Io { action: "reading weights", .. } => true,
            Error::Config(_) | Error::Limit { .. } => {
                let (text, settings) = (error.to_string(), serde_json::to_value(Config::default()).expect("settings"));
                let keys = |(key, value): (&String, &Value)| match value {
                    Value::Object(table) => table.keys().map(|inner| format!("`{key}.{inner}`")).collect(),
                    _ => vec![format!("`{key}`")],
                };
                settings.as_object().expect("keys").iter().flat_map(keys).any(|key| text.contains(&key))
            }
            _ => false,
        };
        if known { Error::Config(NAME.into()) } else { error }
    })
}

#[test]
fn models() {
    let (folder, device) = (Folder::new(), Device::cpu(Precision::F32));
    let dataset = patterns(folder.0.path());
    let whole: Vec<File> = runs().into_iter().map(|run| learned(run, &dataset, folder.0.path()).1).collect();
    let image = dataset.test.pick(&[0]);
    let read = |bytes: &[u8]| {
        let opened = block_on(Model::open(&folder.write(bytes), &device, None));
        let outcome = opened.map(|model| {
            // What damaged numbers say of an image is no fault of the reader.
            let _ = block_on(model.classify(image.clone(), 2));
        });
        device.trim();
        named(outcome)
    };
    whole.iter().for_each(|file| read(&files::sealed(file)).expect("a valid file"));
    fuzz("model", 3, (1 << 22, 64), |rng| damaged(&whole[rng.random_range(0..whole.len())], rng), read);
}

#[test]
fn checkpoints() {
    let (folder, device) = (Folder::new(), Device::cpu(Precision::F32));
    let (dataset, dir) = (patterns(folder.0.path()), folder.0.path().join(NAME));
    let holds = |file: &File, name: &str| file.tensors.iter().any(|tensor| tensor.name == name);
    let phi = "learner/core/network/layers/0/phi";
    let mut whole: Vec<Vec<File>> = Vec::new();
    for run in runs() {
        let min = run.method == Method::Min;
        let mut files = learned(run, &dataset, &dir).0;
        // Before the first module settings alone say how wide the noise is, and may say anything.
        files.retain(|file| !min || holds(file, phi));
        whole.push(files);
    }
    for part in ["task/kept/counts", "task/pass/prototype", "task/training/aux", "task/passed", "task/queries"] {
        let name = format!("learner/{part}");
        assert!(whole.iter().flatten().any(|file| holds(file, &name)), "no checkpoint has `{name}`");
    }
    let read = |bytes: &[u8]| {
        std::fs::write(dir.join("checkpoint.safetensors"), bytes).expect("a temporary file");
        let resumed = block_on(Session::resume(&dir, &device, &dataset));
        memory::stop();
        let outcome = resumed.map(|mut session| {
            // What damaged numbers lead to is no fault of the reader, as long as it leads to an error.
            let _ = (0..STEPS).all(|_| block_on(session.step(&mut Unwatched)).is_ok());
        });
        device.trim();
        named(outcome)
    };
    whole.iter().flatten().for_each(|file| read(&files::sealed(file)).expect("a valid file"));
    let any = |rng: &mut Rng| {
        let files = &whole[rng.random_range(0..whole.len())];
        damaged(&files[rng.random_range(0..files.len())], rng)
    };
    fuzz("checkpoint", 4, (1 << 22, 64), any, read);
}

/// Changes to a checkpoint behind right checksums.
struct Forged(File);

impl Forged {
    /// The first of some checkpoints that is `wanted`.
    fn of(files: &[File], wanted: impl Fn(&Self) -> bool) -> Self {
        files.iter().map(|file| Self(file.clone())).find(wanted).expect("such a checkpoint")
    }

    fn contents(&self) -> Value {
        serde_json::from_str(&self.0.metadata[0].1).expect("JSON")
    }

    fn field(&self, name: &str) -> Value {
        self.contents()["fields"][name].clone()
    }

    /// Sets a field, or what a pointer leads to in it.
    fn set(mut self, name: &str, pointer: &str, value: Value) -> Self {
        let mut contents = self.contents();
        if pointer.is_empty() {
            contents["fields"][name] = value;
        } else {
            *contents["fields"][name].pointer_mut(pointer).expect("a part of the field") = value;
        }
        self.0.metadata[0].1 = contents.to_string();
        self
    }

    fn shape(&self, name: &str) -> Option<&[u64]> {
        self.0.tensors.iter().find(|tensor| tensor.name == name).map(|tensor| &tensor.shape[..])
    }

    /// Gives a tensor another shape, and as much data.
    fn reshape(mut self, name: &str, shape: &[u64]) -> Self {
        let tensor = self.0.tensors.iter_mut().find(|tensor| tensor.name == name).expect("a tensor of the file");
        tensor.shape = shape.to_vec();
        tensor.fit();
        self
    }

    fn copied(mut self, name: &str, to: &str) -> Self {
        let tensor = self.0.tensors.iter().find(|tensor| tensor.name == name).expect("a tensor of the file").clone();
        self.0.tensors.push(files::Entry { name: to.into(), ..tensor });
        self
    }

    fn without(mut self, start: &str) -> Self {
        self.0.tensors.retain(|tensor| !tensor.name.starts_with(start));
        self
    }

    /// Whether the run is in this operation of this task.
    fn is_at(&self, task: usize, operation: Value) -> bool {
        self.field("task") == json!(task) && self.field("learner/task/operation") == operation
    }
}

/// States that are whole and fit their settings, but not their task: the error of a check, at once or at a step, and no other.
#[test]
fn states_of_another_task_are_refused() {
    let (folder, device) = (Folder::new(), Device::cpu(Precision::F32));
    let (dataset, dir) = (patterns(folder.0.path()), folder.0.path().join(NAME));
    let of = |run: Config| learned(run, &dataset, &dir).0;
    let [paper, official, robust] =
        [Profile::Paper, Profile::Official, Profile::Robust].map(|profile| of(min(profile)));
    let (ease, slca) = (of(rival(Method::Ease)), of(rival(Method::Slca)));
    let (network, described) = ("learner/core/network", "learner/head/statistics");
    let first = |files: &[File], name: &str| Forged::of(files, |file| file.shape(name).is_some());
    // Three of four images fitted, and two operations after it two more before those of a share of them.
    let fitted = Forged::of(&robust, |file| !file.field("learner/task/fitted").is_null());
    let rest = fitted.field("learner/task/operation").as_u64().expect("a number") + 4;
    let without_modules = |files: &[File], train: u64| {
        Forged::of(files, |file| file.is_at(1, json!(train)) && file.shape("learner/task/training/losses").is_none())
            .set(&format!("{network}/modules"), "", json!(0))
            .without(&format!("{network}/layers/0/phi"))
            .without(&format!("{network}/layers/0/mixture"))
    };
    let cases = [
        (
            "classes that are not those of the tasks before",
            Forged::of(&ease, |file| file.is_at(1, json!("learn")))
                .set("learner/head/ends", "", json!([1]))
                .reshape("learner/head/classifier", &[1, 1, 8]),
            "its adapters or its 1 classes",
        ),
        (
            "no adapters",
            Forged::of(&ease, |file| file.is_at(0, json!("look")) && file.shape("learner/task/passed").is_none())
                .set("learner/head/adapters/count", "", json!(0))
                .without("learner/head/adapters/"),
            "at least 1 number",
        ),
        (
            "more classes described than heads have",
            Forged::of(&slca, |file| file.is_at(1, json!("learn")))
                .reshape(&format!("{described}/means"), &[5, 8])
                .copied(&format!("{described}/factors/0"), &format!("{described}/factors/2"))
                .copied(&format!("{described}/factors/0"), &format!("{described}/factors/3"))
                .copied(&format!("{described}/factors/0"), &format!("{described}/factors/4")),
            "it describes 5 classes",
        ),
        (
            "more images fitted than the share has",
            Forged::of(&robust, |file| file.is_at(0, json!(rest))).set("learner/task/fitted", "", json!(4)),
            "it has fitted more images",
        ),
        (
            "features of images that are not turned",
            first(&robust, "learner/task/training/losses").reshape("learner/task/floor", &[1, 4, 8]),
            "`floor` has shape [1, 4, 8]",
        ),
        (
            "no prototype",
            Forged::of(&paper, |file| file.is_at(1, json!(4))).reshape("learner/core/prototypes", &[0, 8]),
            "prototypes and modules are [0, 1]",
        ),
        ("no module", without_modules(&paper, 5), "prototypes and modules are [2, 0]"),
        ("no module either", without_modules(&official, 7), "prototypes and modules are [2, 0]"),
        (
            "no times of earlier tasks",
            Forged::of(&paper, |file| file.field("task") == json!(1) && file.field("stage") == json!("judge")).set(
                "measured",
                "/seconds_per_task",
                json!([]),
            ),
            "it has not the results",
        ),
    ];
    let mut bad = Vec::new();
    for (case, Forged(file), word) in &cases {
        std::fs::write(dir.join("checkpoint.safetensors"), files::sealed(file)).expect("a temporary file");
        let go_on = || -> Result<()> {
            let mut session = block_on(Session::resume(&dir, &device, &dataset))?;
            while block_on(session.step(&mut Unwatched))? != Progress::Done {
                block_on(session.save(&dir))?;
            }
            Ok(())
        };
        match catch_unwind(AssertUnwindSafe(go_on)) {
            Ok(Err(error)) if error.to_string().contains(word) => {}
            Ok(Err(error)) => bad.push(format!("{case}: `{word}` is not in {error}")),
            Ok(Ok(())) => bad.push(format!("{case}: nobody notices")),
            Err(_) => bad.push(format!("{case}: a panic")),
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// A run goes on where it takes passes in other batches, as another device may: every image is learned from once.
#[test]
fn images_are_counted_once_whatever_the_batch() {
    let (folder, device) = (Folder::new(), Device::cpu(Precision::F32));
    let (dataset, dir) = (patterns(folder.0.path()), folder.0.path().join(NAME));
    let counts = |file: &File| {
        let name = "learner/head/statistics/counts";
        let tensor = file.tensors.iter().find(|tensor| tensor.name == name).expect("counts");
        tensor.data.chunks(8).map(|n| u64::from_le_bytes(n.try_into().expect("8 bytes"))).collect::<Vec<_>>()
    };
    for adapters in [false, true] {
        let files = learned(ranpac(adapters), &dataset, &dir).0;
        // Three of the four images of the first task.
        let half = Forged::of(&files, |file| counts(&file.0).iter().sum::<u64>() == 3);
        let Forged(file) = half.set("config", "/fit_batch", json!(2));
        std::fs::write(dir.join("checkpoint.safetensors"), files::sealed(&file)).expect("a temporary file");
        let mut session = block_on(Session::resume(&dir, &device, &dataset)).expect("a checkpoint");
        while block_on(session.step(&mut Unwatched)).expect("a step") != Progress::Done {}
        block_on(session.save(&dir)).expect("a model");
        let model = files::unsealed(&std::fs::read(dir.join("model.safetensors")).expect("a file"));
        assert_eq!(counts(&model), [2, 2, 2], "with adapters: {adapters}");
    }
}

/// What a model says of its size is held against what it has, before memory is taken for it.
#[test]
fn models_of_other_sizes_are_refused() {
    let (folder, device) = (Folder::new(), Device::cpu(Precision::F32));
    let dataset = patterns(folder.0.path());
    let of = |method| Forged(learned(rival(method), &dataset, folder.0.path()).1);
    let cases = [
        (of(Method::DualPrompt).set("config", "/dualprompt/pool", json!(1024)), "`dualprompt.pool`"),
        (of(Method::DualPrompt).set("config", "/dualprompt/e_length", json!(1024)), "`dualprompt.e_length`"),
        (of(Method::DualPrompt).set("config", "/dualprompt/g_length", json!(1024)), "`dualprompt.g_length`"),
        (of(Method::L2p).set("config", "/l2p/pool", json!(1024)), "`l2p.pool`"),
        (of(Method::L2p).set("config", "/l2p/length", json!(1024)), "`l2p.length`"),
        (of(Method::Ease).set("tasks", "", json!(1_000_000_000_000u64)), "more tasks than classes"),
    ];
    for (i, (Forged(file), word)) in cases.iter().enumerate() {
        let path = folder.write(&files::sealed(file));
        memory::start("model", i as u64);
        let text = block_on(Model::open(&path, &device, None)).expect_err("another size").to_string();
        assert!(text.contains(word) && text.contains(NAME), "`{word}` is not in {text}");
        assert!(memory::peak() < 1 << 20, "{word}: {} bytes", memory::peak());
    }
}
