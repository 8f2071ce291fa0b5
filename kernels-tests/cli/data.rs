//! Data sets in every format, made by the test.

use std::path::Path;

use crate::{FROZEN, files, minoise, refused, said, text, write};

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
