//! The settings in the metadata of golden files, by their kind.

use serde::Deserialize;

use crate::config::{Method, Profile, Refit};

fn one() -> usize {
    1
}

/// The settings in a golden file's metadata.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::protocol) struct RunCase {
    pub profile: Profile,
    #[serde(default)]
    pub seed: u64,
    pub img_size: usize,
    pub in_chans: usize,
    pub num_heads: usize,
    pub noise_hidden: usize,
    #[serde(default = "one")]
    pub phi_layers: usize,
    pub buffer_size: usize,
    pub gamma: f64,
    #[serde(default)]
    pub temperature: f64,
    pub task_classes: Vec<usize>,
    pub lr: f64,
    pub momentum: f64,
    pub weight_decay: f64,
    pub fit_batch: usize,
    #[serde(default = "one")]
    pub fit_epochs: usize,
    pub layernorm_eps: f32,
    #[serde(default)]
    pub grad_through_analytic: bool,
    pub refit: Option<Refit>,
}

impl RunCase {
    /// Channels, rows and columns of an image.
    pub fn image(&self) -> [usize; 3] {
        [self.in_chans, self.img_size, self.img_size]
    }
}

/// A run of a rival: its own settings are those of its method.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::protocol) struct RivalCase {
    pub method: String,
    pub img_size: usize,
    pub in_chans: usize,
    pub num_heads: usize,
    pub layernorm_eps: f32,
    pub task_classes: Vec<usize>,
    #[serde(default)]
    pub projection: usize,
    #[serde(default)]
    pub shrink: [f64; 2],
    #[serde(default)]
    pub buffer_size: usize,
    #[serde(default)]
    pub gamma: f64,
    #[serde(default)]
    pub gamma_comp: f64,
    #[serde(default)]
    pub compensation: f64,
    #[serde(default)]
    pub lr: f64,
    #[serde(default)]
    pub epochs: usize,
    #[serde(default)]
    pub betas: [f64; 2],
    #[serde(default)]
    pub adam_eps: f64,
    #[serde(default)]
    pub grad_clip: f64,
    #[serde(default)]
    pub pool: usize,
    #[serde(default)]
    pub length: usize,
    #[serde(default)]
    pub top_k: usize,
    #[serde(default)]
    pub g_layers: Vec<usize>,
    #[serde(default)]
    pub e_layers: Vec<usize>,
    #[serde(default)]
    pub g_length: usize,
    #[serde(default)]
    pub e_length: usize,
    #[serde(default)]
    pub pull: f64,
    #[serde(default)]
    pub mu: f64,
    #[serde(default)]
    pub momentum: f64,
    #[serde(default)]
    pub weight_decay: f64,
    #[serde(default)]
    pub adapter_hidden: usize,
    #[serde(default)]
    pub adapter_scale: f64,
    #[serde(default)]
    pub alpha: f64,
    #[serde(default)]
    pub backbone_rate: f64,
    #[serde(default)]
    pub milestones: Vec<usize>,
    #[serde(default)]
    pub lr_decay: f64,
    #[serde(default)]
    pub cov_ridge: f64,
    #[serde(default)]
    pub ca_lr: f64,
    #[serde(default)]
    pub ca_epochs: usize,
    #[serde(default)]
    pub ca_samples: usize,
    #[serde(default)]
    pub ca_temperature: f64,
}

impl RivalCase {
    /// The method, if it is there.
    pub fn method(&self) -> Option<Method> {
        serde_json::from_value(self.method.as_str().into()).ok()
    }

    /// Channels, rows and columns of an image.
    pub fn image(&self) -> [usize; 3] {
        [self.in_chans, self.img_size, self.img_size]
    }
}

/// A ridge regression: random features `p` [n, m], labels `y`, and the classifier.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::protocol) struct RidgeCase {
    pub gamma: f64,
    pub classes: usize,
    /// Condition number of the Gram matrix with gamma on its diagonal.
    pub condition: f64,
}

/// Features of a backbone: images `xN` of N pixels and `featuresN`; `block_clsN` and `pos_embedN` where they are recorded.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::protocol) struct VitCase {
    /// Arguments of timm's constructor, where the weights are inside.
    #[serde(default)]
    pub args: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub class: String,
    /// The file of the weights, seen from the folder above that of the golden file; or `icons`, the embedded ones.
    pub weights: Option<String>,
    pub architecture: Option<String>,
}
