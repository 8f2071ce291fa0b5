//! Sizes of tasks: a list, or text such as `30,20,20`.

use serde::{Deserialize, Serialize};
use toml::Value;

/// The number of classes of every task, in order; none: see [`Config::init_classes`](super::Config::init_classes).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct Sizes(Vec<usize>);

impl Sizes {
    /// The sizes.
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }
}

impl std::str::FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(Value::String(text.into()))
    }
}

impl TryFrom<Value> for Sizes {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let size = |value: &Value| value.as_integer().and_then(|n| usize::try_from(n).ok());
        let sizes = match &value {
            Value::Array(items) => items.iter().map(size).collect::<Option<_>>(),
            Value::String(text) if text.trim().is_empty() => Some(Vec::new()),
            Value::String(text) => text.split(',').map(|part| part.trim().parse().ok()).collect(),
            one => size(one).map(|n| vec![n]),
        };
        sizes.map(Self).ok_or_else(|| "a list of whole numbers is needed, such as [30, 20, 20] or 30,20,20".into())
    }
}
