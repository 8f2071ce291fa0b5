//! Named tensors from safetensors files, read strictly: nothing missing, nothing extra, nothing misshapen.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// Host tensors by name; what a model takes is gone, so that leftovers show.
#[derive(Clone, Debug)]
pub struct Weights {
    file: String,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
    /// Names of tensors stored with fewer than 64 bits.
    narrow: BTreeSet<String>,
    /// The file's `__metadata__`.
    pub metadata: HashMap<String, String>,
    /// timm's `config.json` beside the file.
    pub config: Option<Map<String, Value>>,
}

impl Weights {
    /// Parses safetensors bytes; `file` names them in errors. f16, bf16, f32, f64 and i64 are read, all widened to f64.
    ///
    /// # Errors
    /// [`Error::Weights`] where the bytes are no safetensors file or hold another element type.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self> {
        let fail = |message: String| Error::Weights { file: file.into(), message };
        let bad = |e: safetensors::SafeTensorError| fail(format!("not a safetensors file ({e}); fetch it again"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(bad)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let (mut tensors, mut narrow) = (BTreeMap::new(), BTreeSet::new());
        for (name, view) in SafeTensors::deserialize(bytes).map_err(bad)?.tensors() {
            let raw = view.data();
            let data: Vec<f64> = match view.dtype() {
                Dtype::F16 => raw.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f64()).collect(),
                Dtype::BF16 => raw.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f64()).collect(),
                Dtype::F32 => raw.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
                Dtype::F64 => raw.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
                Dtype::I64 => raw.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
                other => return Err(fail(format!("`{name}` holds {other:?}; f16, bf16, f32 and f64 are read"))),
            };
            if matches!(view.dtype(), Dtype::F16 | Dtype::BF16 | Dtype::F32) {
                narrow.insert(name.clone());
            }
            tensors.insert(name, (view.shape().to_vec(), data));
        }
        Ok(Self { file: file.into(), tensors, narrow, metadata, config: None })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Weights`].
    pub fn read(path: &std::path::Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io("reading weights", path, &e))?;
        Self::parse(&path.display().to_string(), &bytes)
    }

    /// No tensors yet, of a file in shards.
    pub(super) fn empty(file: &str) -> Self {
        let (tensors, narrow, metadata) = (BTreeMap::new(), BTreeSet::new(), HashMap::new());
        Self { file: file.into(), tensors, narrow, metadata, config: None }
    }

    /// Takes over tensors of a shard, and its metadata.
    ///
    /// # Errors
    /// [`Error::Weights`] where one is not in it.
    pub(super) fn adopt(&mut self, mut shard: Self, names: &[&str]) -> Result<()> {
        for &name in names {
            let tensor = shard.tensors.remove(name);
            let tensor =
                tensor.ok_or_else(|| shard.error(format!("`{name}` is missing, which the index says is here")))?;
            self.narrow.extend(shard.narrow.take(name));
            self.tensors.insert(name.into(), tensor);
        }
        self.metadata.extend(shard.metadata);
        Ok(())
    }

    /// The tensors below `prefix`, with the prefix cut off, as weights of their own.
    pub fn below(&self, prefix: &str) -> Self {
        let inside = |name: &str| name.strip_prefix(prefix).map(str::to_string);
        Self {
            file: self.file.clone(),
            tensors: self.tensors.iter().filter_map(|(name, tensor)| Some((inside(name)?, tensor.clone()))).collect(),
            narrow: self.narrow.iter().filter_map(|name| inside(name)).collect(),
            metadata: self.metadata.clone(),
            config: self.config.clone(),
        }
    }

    pub fn error(&self, message: impl Into<String>) -> Error {
        Error::Weights { file: self.file.clone(), message: message.into() }
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Whether the file holds this tensor in f32 or less.
    pub fn is_narrow(&self, name: &str) -> bool {
        self.narrow.contains(name)
    }

    /// Name, shape and entries of all tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[usize], &[f64])> {
        self.tensors.iter().map(|(name, (shape, data))| (name.as_str(), shape.as_slice(), data.as_slice()))
    }

    /// Shape of a tensor.
    ///
    /// # Errors
    /// [`Error::Weights`] where there is none of this name.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        self.tensors.get(name).map(|t| t.0.as_slice()).ok_or_else(|| self.error(format!("`{name}` is missing")))
    }

    /// A tensor of known name and shape.
    ///
    /// # Errors
    /// [`Error::Weights`] where it is missing or has another shape.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f64>> {
        self.shaped(name, shape)?;
        Ok(self.tensors.remove(name).expect("its shape is known").1)
    }

    /// The same, left where it is.
    ///
    /// # Errors
    /// See [`Weights::take`].
    pub fn shaped(&self, name: &str, shape: &[usize]) -> Result<&[f64]> {
        let found = self.shape(name)?;
        if found != shape {
            return Err(self.error(format!("`{name}` has shape {found:?}, {shape:?} is needed")));
        }
        Ok(&self.tensors[name].1)
    }

    /// Rows and columns of a matrix.
    ///
    /// # Errors
    /// [`Error::Weights`] where it is missing, empty, or of other dimensions.
    pub fn matrix(&self, name: &str) -> Result<[usize; 2]> {
        match self.shape(name)? {
            &[rows, cols] if rows > 0 && cols > 0 => Ok([rows, cols]),
            found => Err(self.error(format!("`{name}` has shape {found:?}, a matrix that is not empty is needed"))),
        }
    }

    /// A vector of labels, counts or indices.
    ///
    /// # Errors
    /// [`Error::Weights`] where it is missing or no vector, or an entry is no whole number below `end`.
    pub fn integers(&self, name: &str, end: u64) -> Result<Vec<usize>> {
        let &[n] = self.shape(name)? else {
            return Err(self.error(format!("`{name}` has shape {:?}, a vector is needed", self.shape(name)?)));
        };
        let data = self.shaped(name, &[n])?;
        match data.iter().position(|&x| !(x >= 0.0 && x < end as f64 && x.fract() == 0.0)) {
            None => Ok(data.iter().map(|&x| x as usize).collect()),
            Some(i) => {
                Err(self.error(format!("`{name}`[{i}] is {}, a whole number from 0 to below {end} is needed", data[i])))
            }
        }
    }

    /// Refuses NaN and infinities.
    ///
    /// # Errors
    /// [`Error::Weights`] naming the first tensor that holds one.
    pub fn finite(&self) -> Result<()> {
        for (name, _, data) in self.iter() {
            if let Some(i) = data.iter().position(|x| !x.is_finite()) {
                return Err(self.error(format!("entry {i} of `{name}` is {}, finite numbers are needed", data[i])));
            }
        }
        Ok(())
    }

    /// A tensor of known name and any shape.
    ///
    /// # Errors
    /// [`Error::Weights`] where it is missing.
    pub fn get(&self, name: &str) -> Result<&[f64]> {
        self.shape(name)?;
        Ok(&self.tensors[name].1)
    }

    /// Refuses tensors that nobody took.
    ///
    /// # Errors
    /// [`Error::Weights`] naming the first of them.
    pub fn finish(&self) -> Result<()> {
        match self.tensors.keys().next() {
            None => Ok(()),
            Some(first) => Err(self.error(format!("{} unexpected tensors, among them `{first}`", self.tensors.len()))),
        }
    }
}
