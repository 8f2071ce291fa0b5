//! Readers against damaged files: no panic, no abort, memory within bounds of the file's own length, and an error that names
//! the file. Cases are made from their numbers alone, so that a failure repeats; the file that led to it is kept.
//!
//! `MINOISE_FUZZ_CASES=N` runs N cases in all, instead of 10^5.

mod files;
mod learned;
mod memory;
mod mutate;
// Pages are drawn by the program alone.
#[cfg(feature = "cli")]
mod reports;

use std::path::{Path, PathBuf};

use minoise::config::{Config, Gamma};
use minoise::data;
use minoise::device::{Device, Precision};
use minoise::model::facts::Facts;
use minoise::model::vit::{Architecture, Vit};
use minoise::model::weights::Weights;
use minoise::protocol::{self, Archive, Outcome};
use minoise::{Error, Result};
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
        8,
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
    fuzz("statistics", 9, (1 << 20, 64), damage, |bytes| {
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

/// Replays golden files, which may take `room` bytes beside those that go with the length of a file.
fn golden(reader: &'static str, percent: u64, room: usize, whole: &[files::File]) {
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
    fuzz(reader, percent, (room, 64), damage, |bytes| replay(bytes).map(drop));
}

#[test]
fn golden_features() {
    golden("golden features", 5, 1 << 22, &[files::features()]);
}

/// The attention between all tokens is kept: of 64 x 64 patches at most, since no damage makes larger images, in float64 and
/// twice.
#[test]
fn golden_explanations() {
    golden("golden explanations", 3, 1 << 29, &["token", "avg"].map(files::explained));
}

#[test]
fn golden_ridge() {
    golden("golden ridge", 6, 1 << 22, &[files::ridge()]);
}

#[test]
fn golden_runs() {
    golden("golden run", 5, 1 << 22, &[files::run(false), files::run(true)]);
}
