//! Backbones as users have them: a safetensors file, one in shards, or a folder with either, and timm's `config.json`
//! beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::model::weights::Weights;
use crate::{Error, Result};

/// The names by which files are looked for in a folder.
pub(super) const NAMES: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];

impl Weights {
    /// Reads a backbone: a safetensors file, an index of shards (`*.index.json`), or a folder that holds either.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Weights`].
    pub fn open(path: &Path) -> Result<Self> {
        let file = if path.is_dir() { in_folder(path)? } else { path.to_path_buf() };
        let sharded = file.extension().is_some_and(|ending| ending == "json");
        let mut weights = if sharded { shards(&file)? } else { Self::read(&file)? };
        let config = file.with_file_name("config.json");
        if config.is_file() {
            weights.config = Some(object(&config)?);
        }
        Ok(weights)
    }
}

fn fail(path: &Path, message: impl Into<String>) -> Error {
    Error::Weights { file: path.display().to_string(), message: message.into() }
}

fn in_folder(folder: &Path) -> Result<PathBuf> {
    let found = NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| fail(folder, format!("there is neither {} nor {} in it", NAMES[0], NAMES[1])))
}

fn object(path: &Path) -> Result<Map<String, Value>> {
    let text = std::fs::read(path).map_err(|e| Error::io("reading", path, &e))?;
    serde_json::from_slice(&text).map_err(|e| fail(path, format!("not a JSON object ({e})")))
}

/// All tensors of an index, each from the shard that it names.
fn shards(index: &Path) -> Result<Weights> {
    let content = object(index)?;
    let map = content.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| fail(index, "there is no `weight_map` in it: no index of shards"))?;
    let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (tensor, file) in map {
        // A name that leads elsewhere is no shard of this index.
        let plain = file.as_str().filter(|name| Path::new(name).file_name() == Some(name.as_ref()));
        let file = plain.ok_or_else(|| fail(index, format!("the shard of `{tensor}` is {file}, no name of a file")))?;
        files.entry(file).or_default().push(tensor);
    }
    let mut whole = Weights::empty(&index.display().to_string());
    for (file, tensors) in files {
        let shard = Weights::read(&index.with_file_name(file))?;
        whole.adopt(shard, &tensors)?;
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{Dtype, TensorView};

    use super::*;

    fn save(path: &Path, name: &str, dtype: Dtype, bytes: &[u8], metadata: &str) {
        let view = TensorView::new(dtype, vec![bytes.len() / 2], bytes).expect("as many bytes as it says");
        let metadata = [("made".to_string(), metadata.to_string())].into();
        std::fs::write(path, safetensors::serialize([(name, view)], Some(metadata)).expect("a file"))
            .expect("a folder");
    }

    #[test]
    fn shards_are_one_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        // 1.5 and -2 in both half precisions.
        save(&at("a.safetensors"), "x", Dtype::F16, &[0x00, 0x3e, 0x00, 0xc0], "here");
        save(&at("b.safetensors"), "y", Dtype::BF16, &[0xc0, 0x3f, 0x00, 0xc0], "there");
        let index = |map: Value| {
            let text = serde_json::json!({ "weight_map": map }).to_string();
            std::fs::write(at("model.safetensors.index.json"), text).expect("a folder");
            Weights::open(folder.path())
        };
        std::fs::write(at("config.json"), r#"{"architecture": "vit"}"#).expect("a folder");
        let both = index(serde_json::json!({ "x": "a.safetensors", "y": "b.safetensors" })).expect("two shards");
        assert_eq!(both.get("x").expect("x"), both.get("y").expect("y"));
        assert_eq!(both.get("y").expect("y"), [1.5, -2.0]);
        assert_eq!(both.config.expect("config.json")["architecture"], "vit");
        for (map, words) in [
            (serde_json::json!({ "x": "b.safetensors" }), ["`x`", "b.safetensors"]),
            (serde_json::json!({ "x": "../a.safetensors" }), ["`x`", "../a.safetensors"]),
            (serde_json::json!({ "x": 3 }), ["`x`", "3"]),
            (serde_json::json!([]), ["weight_map", "index"]),
            (serde_json::json!({ "x": "c.safetensors" }), ["reading", "c.safetensors"]),
        ] {
            let error = index(map).expect_err("no such shard").to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }
}
