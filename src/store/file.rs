//! The one format of all files that keep what was learned: safetensors, with everything else in one entry of its metadata.
//!
//! `__metadata__["minoise"]` is JSON: `version`, `kind`, `fields`, `sha256` of every tensor (of its type, shape and bytes) and
//! `seal`, the SHA-256 of the rest of that JSON. Names stand in order, so that equal states are equal files.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::replace::replace;
use super::tree::{Array, Tree};
use crate::{Error, Result};

const KEY: &str = "minoise";
/// Counts changes after which older files cannot be read; fields that are added have defaults instead.
const VERSION: u32 = 1;
/// The longest header that safetensors allows.
const MAX_HEADER: u64 = 100_000_000;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    kind: String,
    fields: BTreeMap<String, Value>,
    sha256: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    contents: Contents,
    seal: String,
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn hash_of_tensor(dtype: Dtype, shape: &[usize], bytes: &[u8]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(format!("{dtype:?} {shape:?}\n"));
    hasher.update(bytes);
    hex(&hasher.finalize())
}

fn seal(contents: &Contents) -> Result<String> {
    let text = serde_json::to_vec(contents).map_err(|e| Error::Unsupported(e.to_string()))?;
    Ok(hex(&Sha256::digest(text)))
}

/// Writes a tree as a file of this kind. Until it is complete and on disk, an earlier one stays.
///
/// # Errors
/// [`Error::Io`].
pub fn write(path: &Path, kind: &str, tree: &Tree) -> Result<()> {
    let hashed = |(name, a): (&String, &Array)| (name.clone(), hash_of_tensor(a.dtype, &a.shape, &a.bytes));
    let contents = Contents {
        version: VERSION,
        kind: kind.into(),
        fields: tree.fields.clone(),
        sha256: tree.tensors.iter().map(hashed).collect(),
    };
    let sealed = Sealed { seal: seal(&contents)?, contents };
    let text = serde_json::to_string(&sealed).map_err(|e| Error::Unsupported(e.to_string()))?;
    let refused = |e: safetensors::SafeTensorError| Error::Unsupported(e.to_string());
    let mut views = Vec::new();
    for (name, array) in &tree.tensors {
        views.push((name, TensorView::new(array.dtype, array.shape.clone(), &array.bytes).map_err(refused)?));
    }
    let metadata = HashMap::from([(KEY.to_string(), text)]);
    // Not by the crate's own writing of files, which waits for no disk.
    replace(path, &safetensors::serialize(views, Some(metadata)).map_err(refused)?)
}

/// A file whose header was read and found whole; its tensors are read, and checked, when they are wanted.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    contents: Contents,
    header: Metadata,
    /// Where the tensors begin.
    start: u64,
}

impl File {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Store`] where it is no file of this format and version, is cut off, or was damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let file = path.display().to_string();
        let bad = |message: String| Error::Store { file: file.clone(), message };
        let foreign = || bad("it was not written by minoise".into());
        let cut = |e: std::io::Error| match e.kind() {
            ErrorKind::UnexpectedEof => bad("it is cut off".into()),
            _ => Error::io("read", path, &e),
        };
        let mut source = std::fs::File::open(path).map_err(|e| Error::io("open", path, &e))?;
        let length = source.metadata().map_err(|e| Error::io("read", path, &e))?.len();
        let mut size = [0; 8];
        source.read_exact(&mut size).map_err(cut)?;
        let size = u64::from_le_bytes(size);
        if size > MAX_HEADER {
            return Err(foreign());
        }
        if size + 8 > length {
            return Err(bad("it is cut off".into()));
        }
        let mut header = vec![0; size as usize];
        source.read_exact(&mut header).map_err(cut)?;
        let header: Metadata =
            serde_json::from_slice(&header).map_err(|e| bad(format!("its header is damaged: {e}")))?;
        let text = header.metadata().as_ref().and_then(|entries| entries.get(KEY)).ok_or_else(foreign)?;
        let Sealed { contents, seal: expected } =
            serde_json::from_str(text).map_err(|e| bad(format!("its contents are not understood: {e}")))?;
        if contents.version > VERSION {
            return Err(bad(format!(
                "its version is {}, this program reads up to {VERSION}; use a newer one",
                contents.version
            )));
        }
        let named = contents.sha256.keys().map(String::as_str).eq(sorted(&header.offset_keys()));
        if seal(&contents)? != expected || !named {
            return Err(bad("its checksum is wrong: it was damaged or changed".into()));
        }
        if header.data_len() as u64 != length - size - 8 {
            return Err(bad("it is cut off, or something was added to it".into()));
        }
        Ok(Self { path: path.into(), contents, header, start: size + 8 })
    }

    /// What it keeps.
    pub fn kind(&self) -> &str {
        &self.contents.kind
    }

    /// The fields, and those tensors that are wanted.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Store`] where a checksum is wrong.
    pub fn read(&self, wanted: impl Fn(&str) -> bool) -> Result<Tree> {
        let mut tree =
            Tree { file: self.path.display().to_string(), fields: self.contents.fields.clone(), ..Tree::default() };
        let failed = |e: std::io::Error| Error::io("read", &self.path, &e);
        let mut source = std::fs::File::open(&self.path).map_err(failed)?;
        for (name, expected) in self.contents.sha256.iter().filter(|(name, _)| wanted(name)) {
            let missing = || tree.error(format!("tensor `{name}` is missing"));
            let TensorInfo { dtype, shape, data_offsets: (from, to) } = self.header.info(name).ok_or_else(missing)?;
            let mut bytes = vec![0; to - from];
            source.seek(SeekFrom::Start(self.start + *from as u64)).map_err(failed)?;
            source.read_exact(&mut bytes).map_err(failed)?;
            if hash_of_tensor(*dtype, shape, &bytes) != *expected {
                return Err(tree.error(format!("the checksum of `{name}` is wrong: the file was damaged or changed")));
            }
            tree.tensors.insert(name.clone(), Array { dtype: *dtype, shape: shape.clone(), bytes });
        }
        Ok(tree)
    }
}

fn sorted(names: &[String]) -> impl Iterator<Item = &str> {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::new();
        tree.put("b", &[3], &[1.0f64, 2.0, 3.0]);
        tree.put("a", &[2, 2], &[1.0f32, 2.0, 3.0, 4.0]);
        tree.put("none", &[0, 5], &[] as &[f32]);
        tree.set("classes", &["ant", "bee"]).unwrap();
        tree.set("step", &3).unwrap();
        tree
    }

    #[test]
    fn equal_states_are_equal_files_and_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        write(&one, "test", &tree()).unwrap();
        write(&two, "test", &tree()).unwrap();
        assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
        let file = File::open(&one).unwrap();
        assert_eq!(file.kind(), "test");
        let back = file.read(|_| true).unwrap();
        assert_eq!((back.tensors, back.fields), (tree().tensors, tree().fields));
        let some = file.read(|name| name == "a").unwrap();
        assert!(some.has("a") && !some.has("b"));
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_what_the_umask_allows() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let [plain, kept] = ["plain", "kept"].map(|name| dir.path().join(name));
        std::fs::write(&plain, "").unwrap();
        write(&kept, "test", &tree()).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&plain), mode(&kept));
    }

    /// Every single damaged byte is found, and every cut.
    #[test]
    fn damage_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, "test", &tree()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            File::open(&path).and_then(|file| Ok((file.kind().to_string(), file.read(|_| true)?)))
        };
        let (_, intact) = read(&whole).unwrap();
        for i in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[i] ^= 1 << (i % 8);
            match read(&damaged) {
                Err(e) => assert!(e.to_string().contains("file"), "{e}"),
                // A space for a space, and the like.
                Ok((kind, tree)) => assert!(kind == "test" && tree == intact, "byte {i} is not checked"),
            }
            assert!(read(&whole[..i]).is_err(), "cut at {i}");
        }
        assert!(read(&[whole.as_slice(), &[0]].concat()).is_err());
    }
}
