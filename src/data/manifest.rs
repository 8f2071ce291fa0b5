//! A list of image files: CSV with a header, or JSON lines; `path` and `class` of every image, and perhaps its `split`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::source::Files;
use super::{Images, Parts};
use crate::{Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Relative to the folder of the list.
    path: PathBuf,
    class: String,
    split: Option<Split>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Split {
    Train,
    Test,
}

/// Whether the name of a file is that of a list.
pub(super) fn found(path: &Path) -> bool {
    matches!(extension(path).as_str(), "csv" | "jsonl")
}

fn extension(path: &Path) -> String {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase()
}

/// Reads a list; classes stand in the order of the bytes of their names.
///
/// # Errors
/// [`Error::Data`] naming the line that is not understood, and where a class has no image in a split; [`Error::Io`].
pub(super) fn read(path: &Path) -> Result<Parts> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, &e))?;
    parse(path, &bytes)
}

/// Parses what stands in the file `path`.
fn parse(path: &Path, bytes: &[u8]) -> Result<Parts> {
    let bad = |message: String| Error::Data { file: path.display().to_string(), message };
    let at = |line: u64, e: &dyn std::fmt::Display| {
        bad(format!("line {line}: {e}; `path`, `class` and perhaps `split` (train or test) are read"))
    };
    let mut entries: Vec<(u64, Entry)> = Vec::new();
    if extension(path) == "csv" {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
        let header = reader.headers().map_err(|e| at(1, &e))?.clone();
        for record in reader.into_records() {
            let record = record.map_err(|e| at(e.position().map_or(1, csv::Position::line), &e))?;
            let line = record.position().map_or(1, csv::Position::line);
            entries.push((line, record.deserialize(Some(&header)).map_err(|e| at(line, &e))?));
        }
    } else {
        for (i, line) in bytes.split(|&b| b == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty()) {
            let line_number = i as u64 + 1;
            entries.push((line_number, serde_json::from_slice(line).map_err(|e| at(line_number, &e))?));
        }
    }
    let names: BTreeSet<&str> = entries.iter().map(|(_, entry)| entry.class.as_str()).collect();
    let classes: Vec<String> = names.into_iter().map(String::from).collect();
    let with_split = entries.iter().filter(|(_, entry)| entry.split.is_some()).count();
    if let Some((line, _)) = entries.iter().find(|(_, entry)| entry.split.is_none()).filter(|_| with_split > 0) {
        return Err(bad(format!("line {line} has no split, while others have")));
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    let part = |split: Option<Split>| {
        let chosen = entries.iter().map(|(_, entry)| entry).filter(|entry| entry.split == split);
        let label = |entry: &Entry| classes.binary_search(&entry.class).unwrap_or_default() as u32;
        let labels = chosen.clone().map(label).collect();
        Images::new(Arc::new(Files(chosen.map(|entry| dir.join(&entry.path)).collect())), labels)
    };
    let (train, test) = match with_split {
        0 => (part(None), None),
        _ => (part(Some(Split::Train)), Some(part(Some(Split::Test)))),
    };
    Ok(Parts { classes, train, test })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str, text: &str) -> Result<Parts> {
        parse(Path::new(name), text.as_bytes())
    }

    #[test]
    fn both_kinds_of_list_say_the_same() {
        let csv = "split, path, class\ntrain, a/1.png, cat\ntest,\"b, 2.png\",ant\ntrain,c.png,ant\ntest,d.png,cat\n";
        let lines = r#"{"path": "a/1.png", "class": "cat", "split": "train"}
            {"path": "b, 2.png", "class": "ant", "split": "test"}

            {"class": "ant", "path": "c.png", "split": "train"}
            {"class": "cat", "path": "d.png", "split": "test"}"#;
        for parts in [parsed("dir/list.csv", csv).unwrap(), parsed("dir/list.jsonl", lines).unwrap()] {
            assert_eq!(parts.classes, ["ant", "cat"]);
            assert_eq!(parts.train.labels, [1, 0]);
            let test = parts.test.unwrap();
            assert_eq!((test.labels.as_slice(), test.name(0)), (&[0, 1][..], String::from("dir/b, 2.png")));
        }
        assert!(parsed("a.csv", "path,class\nx.png,a\n").unwrap().test.is_none());
    }

    #[test]
    fn lines_at_fault_are_named() {
        for (name, text, words) in [
            ("a.csv", "path,class\nx.png\n", "line 2"),
            ("a.csv", "path,label\nx.png,a\n", "line 2"),
            ("a.csv", "path,class,split\nx.png,a,train\ny.png,a,valid\n", "line 3"),
            ("a.csv", "path,class,split\nx.png,a,train\ny.png,a,\n", "line 3 has no split"),
            ("a.jsonl", "{\"path\": \"x\", \"class\": \"a\"}\n{\"path\": 1}\n", "line 2"),
            ("a.jsonl", "{\"path\": \"x\", \"class\": \"a\", \"kind\": 1}\n", "kind"),
        ] {
            let text = parsed(name, text).err().unwrap().to_string();
            assert!(text.contains(name) && text.contains(words), "{text}");
        }
    }
}
