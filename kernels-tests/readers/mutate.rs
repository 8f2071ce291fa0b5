//! Damage: to bytes, and to a file's structure so that it passes the first checks and meets the later ones.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng as Rng;
use serde_json::{Value, json};

use crate::files::{Entry, File};

/// Ends of ranges, and what lies beyond them.
const NUMBERS: [u64; 18] = [
    0,
    1,
    2,
    3,
    5,
    7,
    64,
    257,
    4096,
    4097,
    32_768,
    1 << 20,
    (1 << 31) - 1,
    1 << 32,
    1 << 53,
    1 << 62,
    1 << 63,
    u64::MAX,
];

fn number(rng: &mut Rng) -> u64 {
    *NUMBERS.choose(rng).expect("numbers")
}

/// Damages up to three parts, then perhaps the bytes.
pub fn damaged(file: &File, rng: &mut Rng) -> Vec<u8> {
    damaged_as(file, rng, File::bytes)
}

/// The same with `write` for its bytes.
pub fn damaged_as(file: &File, rng: &mut Rng, write: fn(&File) -> Vec<u8>) -> Vec<u8> {
    let mut file = file.clone();
    for _ in 0..rng.random_range(0..=3) {
        structure(&mut file, rng);
    }
    let mut bytes = write(&file);
    if rng.random_bool(0.25) {
        raw(&mut bytes, rng);
    }
    bytes
}

fn structure(file: &mut File, rng: &mut Rng) {
    if file.tensors.is_empty() || rng.random_bool(0.25) {
        return metadata(file, rng);
    }
    let n = file.tensors.len();
    let (i, j) = (rng.random_range(0..n), rng.random_range(0..n));
    let tensor = &mut file.tensors[i];
    match rng.random_range(0..9) {
        0 => drop(file.tensors.remove(i)),
        1 => tensor.name.push('x'),
        2 => {
            tensor.dtype = ["F16", "F32", "F64", "I64", "BF16", "U8", "BOOL", "X"].choose(rng).expect("types");
            if rng.random() {
                tensor.fit();
            }
        }
        3 => {
            shape(&mut tensor.shape, rng);
            if rng.random_bool(0.8) {
                tensor.fit();
            }
        }
        // The same elements under another shape.
        4 => match tensor.shape.len() {
            0 => tensor.shape.push(1),
            1 => tensor.shape.insert(rng.random_range(0..=1), 1),
            _ => tensor.shape = vec![tensor.shape.iter().fold(1, |n, &x| n.wrapping_mul(x))],
        },
        5 | 6 => poke(tensor, rng),
        7 => {
            let other = file.tensors[j].data.clone();
            std::mem::replace(&mut file.tensors[i].data, other).clone_into(&mut file.tensors[j].data);
        }
        _ => everywhere(file, rng),
    }
}

fn shape(shape: &mut Vec<u64>, rng: &mut Rng) {
    let at = rng.random_range(0..=shape.len());
    match rng.random_range(0..4) {
        0 => shape.insert(at, number(rng)),
        1 if at < shape.len() => drop(shape.remove(at)),
        2 => shape.reverse(),
        _ => {
            if let Some(x) = shape.get_mut(at) {
                *x = number(rng);
            }
        }
    }
}

/// Sets an entry, or all of them, to what no one expects there.
fn poke(Entry { dtype, data, .. }: &mut Entry, rng: &mut Rng) {
    let real = *[f64::NAN, f64::INFINITY, -1.0, 0.5, 0.0, 1e30, -1e300, 7e4, 1e-300].choose(rng).expect("numbers");
    let whole = [number(rng) as i64, -1, i64::MIN, i64::MAX][rng.random_range(0..4)];
    let bytes: &[u8] = match *dtype {
        "F32" => &(real as f32).to_le_bytes(),
        "F64" => &real.to_le_bytes(),
        "I64" => &whole.to_le_bytes(),
        _ => &[0xff, 0x7f],
    };
    let entries = data.len() / bytes.len();
    if entries > 0 {
        let one = rng.random_range(0..entries);
        let chosen = if rng.random_bool(0.3) { 0..entries } else { one..one + 1 };
        chosen.for_each(|i| data[i * bytes.len()..][..bytes.len()].copy_from_slice(bytes));
    }
}

/// One size becomes another in all tensors and settings, so that they still fit each other.
fn everywhere(file: &mut File, rng: &mut Rng) {
    let sizes: Vec<u64> = file.tensors.iter().flat_map(|tensor| &tensor.shape).copied().collect();
    let (Some(&from), to) = (sizes.choose(rng), number(rng)) else { return };
    for tensor in &mut file.tensors {
        tensor.shape.iter_mut().filter(|x| **x == from).for_each(|x| *x = to);
        tensor.fit();
    }
    for (_, text) in &mut file.metadata {
        if let Ok(mut value) = serde_json::from_str(text) {
            replace(&mut value, from, to);
            *text = value.to_string();
        }
    }
}

fn replace(value: &mut Value, from: u64, to: u64) {
    match value {
        Value::Number(n) if n.as_u64() == Some(from) => *value = json!(to),
        Value::Array(all) => all.iter_mut().for_each(|x| replace(x, from, to)),
        Value::Object(all) => all.values_mut().for_each(|x| replace(x, from, to)),
        _ => {}
    }
}

fn metadata(file: &mut File, rng: &mut Rng) {
    let n = file.metadata.len();
    if n == 0 {
        return;
    }
    let i = rng.random_range(0..n);
    if rng.random_bool(0.05) {
        file.metadata.remove(i);
        return;
    }
    let text = &mut file.metadata[i].1;
    match serde_json::from_str(text) {
        Ok(mut value) if rng.random_bool(0.9) => {
            json(&mut value, rng);
            *text = value.to_string();
        }
        _ => {
            let mut bytes = std::mem::take(text).into_bytes();
            raw(&mut bytes, rng);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}

/// Replaces or removes one part of a value.
fn json(value: &mut Value, rng: &mut Rng) {
    match value {
        Value::Object(all) if !all.is_empty() && rng.random_bool(0.95) => {
            let key = all.keys().nth(rng.random_range(0..all.len())).expect("a key").clone();
            if rng.random_bool(0.1) {
                all.remove(&key);
            } else {
                json(&mut all[&key], rng);
            }
        }
        Value::Array(all) if !all.is_empty() && rng.random_bool(0.7) => {
            let at = rng.random_range(0..all.len());
            json(&mut all[at], rng);
        }
        Value::Array(all) if rng.random() => all.push(all.first().cloned().unwrap_or(json!(1))),
        _ => *value = any(rng),
    }
}

fn any(rng: &mut Rng) -> Value {
    match rng.random_range(0..8) {
        0..=2 => json!(number(rng)),
        3 => json!(-(rng.random_range(1..10) as i64)),
        4 => json!(*[0.5, -0.5, 1e-320, 1e30, 1e308].choose(rng).expect("numbers")),
        5 => json!(*["", "auto", "paper", "official", "ridge", "\n\u{1b}[2J"].choose(rng).expect("texts")),
        6 => json!([number(rng), number(rng)]),
        _ => [json!(null), json!(true), json!([]), json!({})].choose(rng).expect("values").clone(),
    }
}

/// What JSON has no number for, and numbers that not every type has, to be written without quotes.
const ODD: [&str; 8] =
    ["<NaN>", "<-Infinity>", "<1e400>", "<-1e308>", "<1e39>", "<-0.0>", "<1e-320>", "<18446744073709551616>"];

/// Damages up to three parts of a JSON document, then perhaps the bytes.
pub fn document(whole: &Value, rng: &mut Rng) -> Vec<u8> {
    let mut value = whole.clone();
    for _ in 0..rng.random_range(0..=3) {
        match (part(&mut value, rng), rng.random_range(0..8)) {
            (Value::Array(all), 0 | 1) if !all.is_empty() => all.truncate(rng.random_range(0..all.len())),
            (Value::Array(all), 2 | 3) => all.extend_from_within(..),
            (Value::Object(all), 0..=3) => all.retain(|_, _| rng.random_bool(0.75)),
            // Longer than the width of any column may be.
            (Value::String(text), 0..=2) => *text = "x".repeat(1 << 16),
            (part, 6) => {
                let levels = [1, 2, 200][rng.random_range(0..3)];
                (0..levels).for_each(|_| *part = Value::Array(vec![part.take()]));
            }
            (part, 7) => *part = json!(*ODD.choose(rng).expect("texts")),
            (part, _) => *part = any(rng),
        }
    }
    let mut bytes = value.to_string().replace("\"<", "").replace(">\"", "").into_bytes();
    if rng.random_bool(0.25) {
        raw(&mut bytes, rng);
    }
    bytes
}

/// Some part of a value, or all of it.
fn part<'a>(value: &'a mut Value, rng: &mut Rng) -> &'a mut Value {
    let parts = match value {
        Value::Array(all) => all.len(),
        Value::Object(all) => all.len(),
        _ => 0,
    };
    if parts == 0 || rng.random_bool(0.15) {
        return value;
    }
    let at = rng.random_range(0..parts);
    match value {
        Value::Array(all) => part(&mut all[at], rng),
        Value::Object(all) => part(all.values_mut().nth(at).expect("a part"), rng),
        _ => unreachable!("it has parts"),
    }
}

/// Damages bytes.
pub fn raw(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..rng.random_range(1..=3) {
        let n = bytes.len();
        let at = rng.random_range(0..=n);
        let end = n.min(at + rng.random_range(1..=16));
        match rng.random_range(0..7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.extend_from_within(at..end),
            3 => drop(bytes.splice(at..at, number(rng).to_string().into_bytes())),
            4 if n >= 8 => {
                let at = [0, at.min(n - 8)][rng.random_range(0..2)];
                let word = number(rng);
                let word = if rng.random() { word.to_le_bytes() } else { word.to_be_bytes() };
                bytes[at..at + 8].copy_from_slice(&word);
            }
            _ => bytes[at.min(n.saturating_sub(1))..end]
                .iter_mut()
                .take(2)
                .for_each(|x| *x ^= 1 << rng.random_range(0..8)),
        }
    }
}

/// Damages a file of settings: lines, values, bytes.
pub fn settings(text: &str, rng: &mut Rng) -> Vec<u8> {
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    for _ in 0..rng.random_range(0..=3) {
        let i = rng.random_range(0..lines.len());
        let line = &mut lines[i];
        let key = line.split('=').next().unwrap_or_default().to_string();
        match rng.random_range(0..8) {
            0 => *line = String::new(),
            1 => *line = format!("{line}\n{line}"),
            2 => *line = format!("x{line}"),
            3 => *line = format!("[{}]\n{line}", key.trim()),
            4 => *line = format!("{key}= {}1{}", "[".repeat(300), "]".repeat(300)),
            5 => {
                *line = format!(
                    "{key}= {}",
                    ["nan", "-inf", "1e400", "''", "1979-05-27", "0x7f"].choose(rng).expect("texts")
                )
            }
            _ => *line = format!("{key}= {}", any(rng)),
        }
    }
    let mut bytes = lines.join("\n").into_bytes();
    if rng.random_bool(0.25) {
        raw(&mut bytes, rng);
    }
    bytes
}

/// Damages IDX files in the sizes and in the bytes, before or after compression.
pub fn idx(file: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = file.to_vec();
    if rng.random() {
        let at = 4 * rng.random_range(0..4);
        let size = if rng.random() { number(rng) as u32 } else { rng.random_range(0..20) };
        bytes[at..at + 4].copy_from_slice(&size.to_be_bytes());
    }
    if rng.random_bool(0.3) {
        raw(&mut bytes, rng);
    }
    if rng.random_bool(0.1) {
        bytes.resize(bytes.len() + number(rng).min(1 << 16) as usize, 0);
    }
    if rng.random() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &bytes).expect("into memory");
        bytes = encoder.finish().expect("into memory");
        if rng.random_bool(0.3) {
            raw(&mut bytes, rng);
        }
    }
    bytes
}

/// One of some files, damaged in its bytes three times out of four.
pub fn any_of(files: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = files.choose(rng).expect("files").clone();
    if rng.random_bool(0.75) {
        raw(&mut bytes, rng);
    }
    bytes
}
