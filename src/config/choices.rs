//! Settings that are one of several words, and gamma.

use serde::{Deserialize, Serialize};
use toml::Value;

/// Which method learns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum), value(rename_all = "lower"))]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The mixture of noise, in one of its profiles.
    #[default]
    Min,
    /// The cosine to the mean feature of each class (arXiv 2303.07338).
    SimpleCil,
    /// The distance to the mean normalised feature of each class.
    Ncm,
    /// A ridge on many random features, chosen at every task (arXiv 2307.02251).
    RanPac,
    /// The Mahalanobis distance to each class, by its own covariance (arXiv 2309.14062).
    FeCam,
    /// The analytic classifier on random features (arXiv 2205.14922).
    Acil,
    /// The same with a second stream that learns what the first leaves (arXiv 2403.17503).
    DsAl,
    /// Adapters that the first task trains, and the cosine to mean features (arXiv 2303.07338).
    Aper,
    /// Adapters of every task, and prototypes in the subspace of each (arXiv 2403.12030).
    Ease,
    /// Prompts from a pool that every image chooses from (arXiv 2112.08654).
    L2p,
    /// Prefixes that all tasks share, and prefixes of each (arXiv 2204.04799).
    DualPrompt,
    /// Prefixes that are mixed from components (arXiv 2211.13218).
    Coda,
    /// The whole backbone, slowly, and heads that are aligned (arXiv 2303.05118).
    Slca,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 13] = [
        Self::Min,
        Self::SimpleCil,
        Self::Ncm,
        Self::RanPac,
        Self::FeCam,
        Self::Acil,
        Self::DsAl,
        Self::Aper,
        Self::Ease,
        Self::L2p,
        Self::DualPrompt,
        Self::Coda,
        Self::Slca,
    ];
}

/// Which algorithm of MiN runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// The method as the paper describes it (arXiv 2509.16738).
    Paper,
    /// Bug-for-bug with the authors' public code.
    Official,
    /// The method anchored to its floor, the analytic classifier on the frozen backbone.
    Robust,
}

/// How the noise modules of the tasks are weighted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mixture {
    /// Every weight is 1.
    Sum,
    /// The softmax of the prototypes' similarities, never learned.
    Similarity,
    /// The same as a start, then learned.
    Learned,
}

/// Which steps a task has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pipeline {
    /// Analytic fit, noise training, analytic refit.
    ThreeStep,
    /// Without the first fit: the training loss sees the auxiliary classifier alone.
    TwoStep,
}

/// What the last step of a task adds to the statistics of the analytic classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refit {
    /// The last pass only.
    Replace,
    /// The first and the last pass.
    Accumulate,
}

/// What the noise is when nothing is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvalNoise {
    /// Its mean: `eps = 0`.
    Mean,
    /// A seeded sample.
    Sample,
}

/// Which optimizer trains the noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam with decoupled weight decay.
    Adamw,
}

/// Ridge added to the Gram matrix.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Gamma {
    /// Always this.
    Value(f64),
    /// `"auto"`: chosen at every solve by generalised cross-validation, see
    /// [`Statistics::choose_gamma`](crate::model::head::Statistics::choose_gamma).
    Auto,
}

impl TryFrom<Value> for Gamma {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::Float(x) => Ok(Self::Value(x)),
            Value::Integer(x) => Ok(Self::Value(x as f64)),
            Value::String(text) => text.parse(),
            _ => Err(GAMMA.into()),
        }
    }
}

const GAMMA: &str = "a positive number or \"auto\" is needed";

impl std::str::FromStr for Gamma {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            number => number.parse().map(Self::Value).map_err(|_| GAMMA.into()),
        }
    }
}

impl From<Gamma> for Value {
    fn from(gamma: Gamma) -> Self {
        match gamma {
            Gamma::Value(x) => Self::Float(x),
            Gamma::Auto => Self::String("auto".into()),
        }
    }
}

/// A choice as settings have it.
pub(crate) fn word(choice: impl Serialize) -> String {
    match serde_json::to_value(choice) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
