//! Readers against damaged files: no panic, no abort, memory within bounds of the file's own length, and an error that names
//! the file. Cases are made from their numbers alone, so that a failure repeats; the file that led to it is kept.
//!
//! `MINOISE_FUZZ_CASES=N` runs N cases in all, instead of 10^5.

mod files;
mod memory;
mod mutate;

use std::path::{Path, PathBuf};

use minoise::config::{Config, Gamma, OptimizerKind, Profile};
use minoise::data;
use minoise::device::{Device, Precision};
use minoise::model::facts::Facts;
use minoise::model::vit::{Architecture, Vit};
use minoise::model::weights::Weights;
use minoise::protocol::{self, Archive, Model, Outcome, Progress, Session, Unwatched};
use minoise::{Error, Result, store};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng as Rng;

fn cases() -> u64 {
    let wanted = std::env::var("MINOISE_FUZZ_CASES");
    wanted.map_or(100_000, |n| n.parse().expect("MINOISE_FUZZ_CASES is a number"))
}

/// The file under test, kept where the test fails.
struct Case<'a> {
    reader: &'static str,
    number: u64,
    bytes: &'a [u8],
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { reader, number, bytes } = self;
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{reader}-{number}"));
            eprintln!("{reader}, case {number}, {} bytes in {}", bytes.len(), path.display());
            let _ = std::fs::write(path, bytes);
        }
    }
}

/// A file name that stands in every error.
const NAME: &str = "file.case";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(NAME);
        std::fs::write(&path, bytes).expect("a temporary file");
        path
    }
}

/// Runs `percent` of all cases: `read` gets what `damage` makes, and may hold `room` bytes and `times` the file's length.
fn fuzz(
    reader: &'static str,
    percent: u64,
    (room, times): (usize, usize),
    mut damage: impl FnMut(&mut Rng) -> Vec<u8>,
    read: impl Fn(&[u8]) -> Result<()>,
) {
    let total = cases() * percent / 100;
    let mut refused = 0;
    for number in 0..total {
        let bytes = damage(&mut Rng::seed_from_u64(number));
        let case = Case { reader, number, bytes: &bytes };
        memory::start(reader, number);
        let outcome = read(&bytes);
        let (peak, bound) = (memory::peak(), room + times * bytes.len());
        assert!(peak <= bound, "{peak} bytes held, {bound} allowed");
        if let Err(error) = outcome {
            let text = error.to_string();
            assert!(text.contains(NAME), "the file is not named: {text}");
            refused += 1;
        }
        drop(case);
    }
    println!("{reader}: {refused} of {total} cases refused");
    // Cases that all die of one cause, or of none, see nothing.
    assert!((total / 5..=total - total / 50).contains(&refused), "{reader}: {refused} of {total} refused");
}

#[test]
fn idx() {
    let whole = files::idx(&[5, 4, 3], &(0..60).collect::<Vec<_>>());
    // What deflate makes of zeros is a thousandth of them, and a buffer that grows is at most twice what it holds.
    fuzz(
        "idx",
        10,
        (1 << 17, 2100),
        |rng| mutate::idx(&whole, rng),
        |bytes| data::parse_labels(NAME, bytes, 10).map(drop).or_else(|_| data::parse_images(NAME, bytes).map(drop)),
    );
}

/// Decodes images; what a header announces may be allocated as far as the file can hold it.
fn images(reader: &'static str, percent: u64, start: &str, bound: (usize, usize)) {
    let whole = files::pictures(start);
    assert!(!whole.is_empty() && whole.iter().all(|bytes| data::decode(NAME, bytes).is_ok()));
    fuzz(reader, percent, bound, |rng| mutate::any_of(&whole, rng), |bytes| data::decode(NAME, bytes).map(drop));
}

#[test]
fn images_jpeg() {
    images("jpeg", 8, "jpeg-", (1 << 20, 1 << 14));
}

#[test]
fn images_png() {
    images("png", 5, "png-", (1 << 20, 1 << 17));
}

#[test]
fn images_bmp() {
    images("bmp", 2, "bmp-", (1 << 20, 1 << 17));
}

/// A few bytes of WebP may be an image of any size.
#[test]
fn images_webp() {
    images("webp", 2, "webp-", (1 << 30, 0));
}

#[test]
fn cifar() {
    let pixels: Vec<u8> = (0..2 * 3072).map(|i| (i % 253) as u8).collect();
    let mut whole = files::pictures("pickle-");
    whole.push(files::cifar_python("fine_labels", &[1, 0], &pixels));
    let read = |bytes: &[u8]| data::parse_python(NAME, bytes, "fine_labels", 4);
    assert!(whole.iter().all(|bytes| read(bytes).is_ok_and(|(_, pixels)| pixels.len() == 2 * 3072)));
    // The codes of a program are a few bytes among many of pixels.
    let damage = |rng: &mut Rng| {
        let mut bytes = mutate::any_of(&whole, rng);
        let at = [0, bytes.len().saturating_sub(120)][rng.random_range(0..2)] + rng.random_range(0..240);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = rng.random();
        }
        bytes
    };
    fuzz("cifar", 8, (1 << 17, 128), damage, |bytes| read(bytes).map(drop));
}

#[test]
fn manifests() {
    let folder = Folder::new();
    for (reader, extension, csv) in [("csv", "csv", true), ("json lines", "jsonl", false)] {
        let whole = [files::manifest(csv).into_bytes()];
        let path = folder.0.path().join(format!("{NAME}.{extension}"));
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("a temporary file");
            data::load(path.to_str().expect("a path"), &data::Settings::default()).map(drop)
        };
        assert!(read(&whole[0]).is_ok());
        fuzz(reader, 3, (1 << 17, 256), |rng| mutate::any_of(&whole, rng), read);
    }
}

#[test]
fn settings() {
    let (folder, whole) = (Folder::new(), files::settings());
    fuzz(
        "settings",
        5,
        (1 << 18, 1 << 10),
        |rng| mutate::settings(&whole, rng),
        |bytes| {
            let outcome = Config::load(None, Some(&folder.write(bytes)), &[]).map(drop);
            match outcome {
                // Settings are known by their keys, wherever they stand.
                Err(Error::Config(text)) => {
                    assert!(text.contains('`') || text.contains(NAME), "no setting is named: {text}");
                    Err(Error::Config(NAME.into()))
                }
                other => other,
            }
        },
    );
}

#[test]
fn weights() {
    let (whole, device) = ([files::vit(), files::eva()], Device::cpu(Precision::F32));
    fuzz(
        "weights",
        16,
        // An image of as many patches as are allowed, 65,536, in angles and in what is added to each.
        (1 << 24, 64),
        |rng| mutate::damaged(&whole[rng.random_range(0..2)], rng),
        |bytes| {
            let weights = Weights::parse(NAME, bytes)?;
            let told = Facts::of(&weights, None)?;
            Vit::load(&device, Architecture::of(&weights, told, None)?, weights, bytes.len() % 2 == 0).map(drop)
        },
    );
}

/// Weights that no half can hold are named; without `f16_weights` they serve.
#[test]
fn halves_that_would_overflow_are_refused() {
    let device = Device::cpu(Precision::F32);
    for (entry, refused) in [(7e4f32, true), (-1e30, true), (65_504.0, false), (-3.5, false)] {
        let mut file = files::vit();
        let tensor = file.tensors.iter_mut().find(|tensor| tensor.name == "blocks.0.mlp.fc1.weight");
        tensor.expect("an MLP").data[8..12].copy_from_slice(&entry.to_le_bytes());
        let load = |halves| {
            let weights = Weights::parse(NAME, &file.bytes())?;
            let told = Facts::of(&weights, None)?;
            Vit::load(&device, Architecture::of(&weights, told, None)?, weights, halves).map(drop)
        };
        assert!(load(false).is_ok());
        let told = load(true).err().map(|e| e.to_string()).unwrap_or_default();
        let entry = format!("{:e}", f64::from(entry).abs());
        let words = [NAME, "`blocks.0.mlp.fc1.weight`", &entry, "65504", "f16_weights = false"];
        assert_eq!(words.iter().all(|word| told.contains(word)), refused, "{told}");
    }
}

#[test]
fn statistics() {
    let (folder, device) = (Folder::new(), Device::cpu(Precision::F32));
    let whole = [false, true].map(files::statistics);
    let damage = |rng: &mut Rng| mutate::damaged_as(&whole[rng.random_range(0..2)], rng, files::sealed);
    fuzz("statistics", 11, (1 << 20, 64), damage, |bytes| {
        let archive = pollster::block_on(Archive::load(&folder.write(bytes)))?;
        assert!(archive.to_string().contains("samples"));
        let gamma = match archive.config.gamma {
            Gamma::Value(gamma) => gamma,
            Gamma::Auto => pollster::block_on(archive.statistics.choose_gamma(None)).unwrap_or(1.0),
        };
        // That these numbers have no solution is no fault of the reader.
        let _ = pollster::block_on(archive.statistics.solve(&device, gamma, &mut |_| ()));
        Ok(())
    });
}

/// Nine images of three classes.
fn patterns(dir: &Path) -> data::Dataset {
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

const PROFILES: [Profile; 2] = [Profile::Paper, Profile::Official];

/// Learns two tasks in `dir`: the checkpoints after every step, to the last one, and the model at the end.
fn learned(profile: Profile, dataset: &data::Dataset, dir: &Path) -> (Vec<files::File>, files::File) {
    // The same name whenever the test runs, as it stands in the settings, which are damaged.
    let weights = concat!(env!("CARGO_TARGET_TMPDIR"), "/fuzz-backbone.safetensors");
    store::replace(Path::new(weights), &files::vit().bytes()).expect("a file");
    let official = profile == Profile::Official;
    let config = Config {
        noise_hidden: 3,
        buffer_size: 6,
        gamma: Gamma::Value(1.0),
        keep_class_statistics: official,
        optimizer: if official { OptimizerKind::Adamw } else { OptimizerKind::Sgd },
        lr: 0.01,
        batch_size: 3,
        fit_batch: 3,
        epochs: 2,
        init_epochs: 2,
        init_classes: 2,
        increment: 1,
        images: data::Settings::default(),
        weights: weights.into(),
        ..Config::of(profile)
    };
    let read = |name: &str| files::unsealed(&std::fs::read(dir.join(name)).expect("a file"));
    let mut session = Session::new(&config, &Device::cpu(Precision::F32), dataset).expect("a run");
    let mut checkpoints = Vec::new();
    while pollster::block_on(session.step(&mut Unwatched)).expect("a step") != Progress::Done {
        pollster::block_on(session.save(dir)).expect("a checkpoint");
        checkpoints.push(read("checkpoint.safetensors"));
    }
    (checkpoints, read("model.safetensors"))
}

/// Damage behind right checksums most of the time, else to the bytes alone.
fn damaged(whole: &[files::File], rng: &mut Rng) -> Vec<u8> {
    let file = &whole[rng.random_range(0..whole.len())];
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
                settings.as_object().expect("keys").keys().any(|key| text.contains(&format!("`{key}`")))
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
    let whole = PROFILES.map(|profile| learned(profile, &dataset, folder.0.path()).1);
    let image = dataset.test.pick(&[0]);
    let read = |bytes: &[u8]| {
        let opened = pollster::block_on(Model::open(&folder.write(bytes), &device, None));
        let outcome = opened.map(|model| {
            // What damaged numbers say of an image is no fault of the reader.
            let _ = pollster::block_on(model.classify(image.clone(), 2));
        });
        device.trim();
        named(outcome)
    };
    whole.iter().for_each(|file| read(&files::sealed(file)).expect("a valid file"));
    fuzz("model", 3, (1 << 22, 64), |rng| damaged(&whole, rng), read);
}

#[test]
fn checkpoints() {
    let (folder, device) = (Folder::new(), Device::cpu(Precision::F32));
    let (dataset, dir) = (patterns(folder.0.path()), folder.0.path().join(NAME));
    let mut whole: Vec<_> = PROFILES.iter().flat_map(|&profile| learned(profile, &dataset, &dir).0).collect();
    let holds = |file: &files::File, name: &str| file.tensors.iter().any(|tensor| tensor.name == name);
    // Before the first module settings alone say how wide the noise is, and may say anything.
    whole.retain(|file| holds(file, "learner/core/network/layers/0/phi"));
    for part in ["kept/counts", "pass/prototype", "training/aux"] {
        let name = format!("learner/task/{part}");
        assert!(whole.iter().any(|file| holds(file, &name)), "no checkpoint has `{name}`");
    }
    let read = |bytes: &[u8]| {
        std::fs::write(dir.join("checkpoint.safetensors"), bytes).expect("a temporary file");
        let resumed = pollster::block_on(Session::resume(&dir, &device, &dataset));
        let outcome = resumed.map(drop);
        device.trim();
        named(outcome)
    };
    whole.iter().for_each(|file| read(&files::sealed(file)).expect("a valid file"));
    fuzz("checkpoint", 4, (1 << 22, 64), |rng| damaged(&whole, rng), read);
}

/// Replays golden files.
fn golden(reader: &'static str, percent: u64, whole: &[files::File]) {
    let (folder, device) = (Folder::new(), Device::cpu(Precision::F32));
    let replay = |bytes: &[u8]| {
        let replay = pollster::block_on(protocol::verify(&folder.write(bytes), &device, false));
        device.trim();
        replay
    };
    for file in whole {
        let outcome = replay(&file.bytes()).expect("a valid file").outcome;
        assert!(matches!(outcome, Outcome::Checked(checks) if checks.len() >= 3), "all of it is replayed");
    }
    let damage = |rng: &mut Rng| mutate::damaged(&whole[rng.random_range(0..whole.len())], rng);
    fuzz(reader, percent, (1 << 22, 64), damage, |bytes| replay(bytes).map(drop));
}

#[test]
fn golden_features() {
    golden("golden features", 5, &[files::features()]);
}

#[test]
fn golden_ridge() {
    golden("golden ridge", 10, &[files::ridge()]);
}

#[test]
fn golden_runs() {
    golden("golden run", 5, &[files::run(false), files::run(true)]);
}
