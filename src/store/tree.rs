//! A state as one tree: named tensors and JSON fields, in the order of their names.

use std::collections::BTreeMap;

use safetensors::Dtype;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Error, Result};

/// A number that a tensor in a file may hold.
pub trait Element: bytemuck::Pod {
    const DTYPE: Dtype;
    /// Whether it is neither NaN nor infinite.
    fn is_finite(self) -> bool {
        true
    }
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;
    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

impl Element for f64 {
    const DTYPE: Dtype = Dtype::F64;
    fn is_finite(self) -> bool {
        self.is_finite()
    }
}

impl Element for u64 {
    const DTYPE: Dtype = Dtype::U64;
}

/// A tensor as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Array {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// Named tensors and fields. Whoever reads one takes out what it knows; what is left at the end is refused by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// The file that it was read from, for messages.
    pub(super) file: String,
    pub(super) tensors: BTreeMap<String, Array>,
    pub(super) fields: BTreeMap<String, Value>,
}

impl Tree {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor.
    ///
    /// # Panics
    /// If `data` has not as many elements as `shape` says.
    pub fn put<T: Element>(&mut self, name: &str, shape: &[usize], data: &[T]) {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "elements of `{name}`");
        let bytes = bytemuck::cast_slice(data).to_vec();
        self.tensors.insert(name.into(), Array { dtype: T::DTYPE, shape: shape.to_vec(), bytes });
    }

    /// Adds a field.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the value is no JSON.
    pub fn set(&mut self, name: &str, value: &impl Serialize) -> Result<()> {
        let value = serde_json::to_value(value).map_err(|e| Error::Unsupported(format!("`{name}`: {e}")))?;
        self.fields.insert(name.into(), value);
        Ok(())
    }

    /// Adds all of another tree, below `name`.
    pub fn graft(&mut self, name: &str, branch: Self) {
        let below = |inner: String| format!("{name}/{inner}");
        self.tensors.extend(branch.tensors.into_iter().map(|(inner, array)| (below(inner), array)));
        self.fields.extend(branch.fields.into_iter().map(|(inner, value)| (below(inner), value)));
    }

    /// Takes out what was grafted below `name`; nothing if nothing was.
    pub fn prune(&mut self, name: &str) -> Self {
        let inner = |full: &str| full.strip_prefix(name).and_then(|rest| rest.strip_prefix('/')).map(str::to_string);
        let mut branch = Self { file: self.file.clone(), ..Self::default() };
        let names: Vec<String> = self.tensors.keys().filter(|full| inner(full).is_some()).cloned().collect();
        for full in names {
            let array = self.tensors.remove(&full).expect("just listed");
            branch.tensors.insert(inner(&full).expect("filtered"), array);
        }
        let names: Vec<String> = self.fields.keys().filter(|full| inner(full).is_some()).cloned().collect();
        for full in names {
            let value = self.fields.remove(&full).expect("just listed");
            branch.fields.insert(inner(&full).expect("filtered"), value);
        }
        branch
    }

    /// Whether there is nothing (left).
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty() && self.fields.is_empty()
    }

    /// Whether there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Whether there is such a tensor, and it holds elements of this type.
    pub fn holds<T: Element>(&self, name: &str) -> bool {
        self.tensors.get(name).is_some_and(|array| array.dtype == T::DTYPE)
    }

    /// The shape of a tensor.
    ///
    /// # Errors
    /// [`Error::Store`] where it is missing.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        let array = self.tensors.get(name);
        array.map(|a| a.shape.as_slice()).ok_or_else(|| self.error(format!("tensor `{name}` is missing")))
    }

    /// Takes a tensor out, of any shape.
    ///
    /// # Errors
    /// [`Error::Store`] where it is missing, of another type, or holds NaN or infinity.
    pub fn take<T: Element>(&mut self, name: &str) -> Result<(Vec<usize>, Vec<T>)> {
        self.shape(name)?;
        let Array { dtype, shape, bytes } = self.tensors.remove(name).expect("it has a shape");
        if dtype != T::DTYPE {
            return Err(self.error(format!("`{name}` holds {dtype:?}, {:?} is needed", T::DTYPE)));
        }
        let data: Vec<T> = bytemuck::pod_collect_to_vec(&bytes);
        match data.iter().position(|x| !x.is_finite()) {
            None => Ok((shape, data)),
            Some(i) => Err(self.error(format!("entry {i} of `{name}` is no finite number"))),
        }
    }

    /// Takes out a tensor of known shape.
    ///
    /// # Errors
    /// See [`Tree::take`]; [`Error::Store`] where it has another shape.
    pub fn take_shaped<T: Element>(&mut self, name: &str, shape: &[usize]) -> Result<Vec<T>> {
        let found = self.shape(name)?;
        if found != shape {
            return Err(self.error(format!("`{name}` has shape {found:?}, {shape:?} is needed")));
        }
        Ok(self.take(name)?.1)
    }

    /// Takes out a field, `None` where it is missing.
    ///
    /// # Errors
    /// [`Error::Store`] where it is not what it should be.
    pub fn find<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>> {
        let value = self.fields.remove(name);
        let parsed = value.map(serde_json::from_value).transpose();
        parsed.map_err(|e| self.error(format!("its `{name}` is not understood: {e}")))
    }

    /// Takes out a field that must be there.
    ///
    /// # Errors
    /// [`Error::Store`] where it is missing or not what it should be.
    pub fn get<T: DeserializeOwned>(&mut self, name: &str) -> Result<T> {
        let found = self.find(name)?;
        found.ok_or_else(|| self.error(format!("it has no `{name}`")))
    }

    /// Refuses what nobody took.
    ///
    /// # Errors
    /// [`Error::Store`] with all names.
    pub fn finish(&self) -> Result<()> {
        let left: Vec<&str> = self.tensors.keys().chain(self.fields.keys()).map(String::as_str).collect();
        match left.as_slice() {
            [] => Ok(()),
            names => Err(self.error(format!("it holds what this version does not know: {}", names.join(", ")))),
        }
    }

    /// An error that names the file.
    pub fn error(&self, message: impl Into<String>) -> Error {
        let file = if self.file.is_empty() { "state" } else { &self.file };
        Error::Store { file: file.into(), message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut inner = Tree::new();
        inner.put("x", &[2, 1], &[1.5f32, -2.0]);
        inner.set("step", &7).unwrap();
        let mut tree = Tree::new();
        tree.graft("learner", inner);
        tree.put("learners", &[1], &[3u64]);
        tree
    }

    #[test]
    fn branches_come_back_as_they_were() {
        let mut whole = tree();
        let mut inner = whole.prune("learner");
        assert_eq!(inner.take_shaped::<f32>("x", &[2, 1]).unwrap(), [1.5, -2.0]);
        assert_eq!(inner.get::<u32>("step").unwrap(), 7);
        inner.finish().unwrap();
        assert_eq!(whole.take::<u64>("learners").unwrap(), (vec![1], vec![3]));
        assert!(whole.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let named = |result: Result<()>, word: &str| {
            let text = result.unwrap_err().to_string();
            assert!(text.contains(word), "{text}");
        };
        named(tree().finish(), "learner/x");
        named(tree().take::<f64>("learner/x").map(drop), "F32, F64 is needed");
        named(tree().take_shaped::<f32>("learner/x", &[2]).map(drop), "[2, 1], [2]");
        named(tree().take::<f32>("y").map(drop), "`y` is missing");
        named(tree().get::<String>("learner/step").map(drop), "`learner/step`");
        named(tree().get::<u32>("steps").map(drop), "no `steps`");
        let mut nan = Tree::new();
        nan.put("x", &[2], &[0.0, f64::NAN]);
        named(nan.take::<f64>("x").map(drop), "entry 1 of `x`");
    }
}
