//! The settings of a run: defaults, a TOML file, and single settings on top.

mod choices;
mod load;
mod methods;
mod sizes;
mod validate;

use serde::{Deserialize, Serialize};

use crate::data::Settings;

pub(crate) use choices::word;
pub use choices::{EvalNoise, Gamma, Method, Mixture, OptimizerKind, Pipeline, Profile, Refit};
pub use methods::{Acil, Aper, Coda, DsAl, DualPrompt, Ease, FeCam, L2p, RanPac, Robust, Slca};
pub use sizes::Sizes;
pub use validate::MAX_NOISE_HIDDEN;

/// Every setting of a run. The default is the default run on the embedded icons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Which method learns.
    #[serde(default)]
    pub method: Method,
    /// Which algorithm of MiN runs.
    pub profile: Profile,
    /// Whether there is noise at all; without, the analytic classifier stands on the frozen backbone.
    pub noise: bool,
    /// Width of the noise, `d2`.
    pub noise_hidden: usize,
    /// Layers of the small networks that make the noise, 1 or 2.
    pub phi_layers: usize,
    /// Divides the similarities of prototypes before the softmax.
    pub temperature: f64,
    /// How the noise modules of the tasks are weighted.
    pub mixture: Mixture,
    /// Which steps a task has.
    pub pipeline: Pipeline,
    /// What the last step adds to the statistics.
    pub refit: Refit,
    /// What the noise is when nothing is trained.
    pub eval_noise: EvalNoise,
    /// Whether the analytic logits pass gradient to the features.
    pub grad_through_analytic: bool,
    /// What profile `robust` adds, each as `robust.KEY`.
    #[serde(default)]
    pub robust: Robust,
    /// What method `ranpac` has of its own, each as `ranpac.KEY`; so for the others.
    #[serde(default)]
    pub ranpac: RanPac,
    /// What method `fecam` has.
    #[serde(default)]
    pub fecam: FeCam,
    /// What method `acil` has.
    #[serde(default)]
    pub acil: Acil,
    /// What method `dsal` has.
    #[serde(default)]
    pub dsal: DsAl,
    /// What method `aper` has.
    #[serde(default)]
    pub aper: Aper,
    /// What method `ease` has.
    #[serde(default)]
    pub ease: Ease,
    /// What method `l2p` has.
    #[serde(default)]
    pub l2p: L2p,
    /// What method `dualprompt` has.
    #[serde(default)]
    pub dualprompt: DualPrompt,
    /// What method `coda` has.
    #[serde(default)]
    pub coda: Coda,
    /// What method `slca` has.
    #[serde(default)]
    pub slca: Slca,
    /// The number of random features, `m`.
    pub buffer_size: usize,
    /// Ridge added to the Gram matrix: a number, or `"auto"` to choose it at every solve.
    pub gamma: Gamma,
    /// Whether every class keeps a Gram matrix of its own, so that it can be forgotten exactly. C classes then take
    /// `4 C m^2` bytes of host memory instead of `4 m^2`: at m = 2048 and C = 100, 1.7 GB instead of 17 MB.
    pub keep_class_statistics: bool,
    /// Which optimizer trains the noise.
    pub optimizer: OptimizerKind,
    /// Learning rate.
    pub lr: f64,
    /// Momentum of SGD.
    pub momentum: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Images in a training step.
    pub batch_size: usize,
    /// Images in a batch of an analytic or evaluation pass.
    pub fit_batch: usize,
    /// Training epochs of a task after the first.
    pub epochs: usize,
    /// Training epochs of task 0; `epochs` unless set.
    pub init_epochs: usize,
    /// Analytic passes over augmented data (profile `official`).
    pub fit_epochs: usize,
    /// Classes of task 0; 10 unless set, with `data = "fashion"` 2.
    pub init_classes: usize,
    /// Classes of each later task; 10 unless set, with `data = "fashion"` 2.
    pub increment: usize,
    /// Classes of every task, such as `[30, 20, 20]`; instead of `init_classes` and `increment` if not empty.
    #[serde(default)]
    pub tasks: Sizes,
    /// Seed of the class order.
    pub class_seed: u32,
    /// A file with the names of all classes in their order, one a line, instead of an order from `class_seed`.
    #[serde(default)]
    pub class_order: String,
    /// Seed of everything else.
    pub seed: u64,
    /// `icons` or `fashion` (embedded), a directory or a list of images, see [`load`](crate::data::load). With `fashion`,
    /// whose images are 28 x 28, `fit` is `pad` unless set.
    pub data: String,
    /// What concerns the images.
    #[serde(flatten)]
    pub images: Settings,
    /// `icons` (embedded), a file or folder, or `hf:OWNER/NAME`.
    pub weights: String,
    /// timm's name of the backbone's architecture, where its file does not tell; `auto` believes the file.
    #[serde(default = "auto")]
    pub arch: String,
    /// Whether the noise layer runs as its fused kernel, or as the chain of products that it replaces (for profiling).
    pub fused_noise: bool,
    /// Whether the backbone stays in half precision on the device.
    pub f16_weights: bool,
    /// Whether what training keeps of the tokens for the backward pass is rounded to halves, in half the room.
    #[serde(default)]
    pub f16_activations: bool,
    /// Most MiB of device memory; to stay within, batches are taken in parts and blocks are computed once more. 0 for no limit.
    #[serde(default)]
    pub memory_mib: usize,
}

/// In settings saved before there was a choice.
fn auto() -> String {
    "auto".into()
}

impl Default for Config {
    fn default() -> Self {
        Self::of(Profile::Paper)
    }
}

impl Config {
    /// The default settings of a method; of MiN, those of its first profile.
    pub fn of_method(method: Method) -> Self {
        let config = Self { method, ..Self::of(Profile::Paper) };
        // The authors' batch of one device, with the rate that goes with it.
        let (lr, batch_size, epochs) = match method {
            Method::RanPac | Method::Aper => (0.01, 48, 20),
            Method::Ease => (0.025, 48, 20),
            Method::L2p => (0.03 * 16.0 / 256.0, 16, 5),
            Method::DualPrompt => (0.03 * 24.0 / 256.0, 24, 5),
            Method::Coda => (1e-3, 128, 20),
            Method::Slca => (0.01, 128, 20),
            _ => return config,
        };
        Self { lr, batch_size, epochs, init_epochs: epochs, ..config }
    }

    /// The default settings of MiN in a profile.
    pub fn of(profile: Profile) -> Self {
        let (phi_layers, lr, epochs) = match profile {
            Profile::Paper => (2, 0.1, 4),
            Profile::Official => (1, 0.01, 5),
            Profile::Robust => (2, 0.03, 4),
        };
        let gamma = if profile == Profile::Robust { Gamma::Auto } else { Gamma::Value(10.0) };
        Self {
            method: Method::Min,
            profile,
            noise: true,
            noise_hidden: 48,
            phi_layers,
            temperature: 1.0,
            mixture: Mixture::Learned,
            pipeline: Pipeline::ThreeStep,
            refit: Refit::Replace,
            eval_noise: EvalNoise::Mean,
            grad_through_analytic: true,
            robust: Robust::default(),
            ranpac: RanPac::default(),
            fecam: FeCam::default(),
            acil: Acil::default(),
            dsal: DsAl::default(),
            aper: Aper::default(),
            ease: Ease::default(),
            l2p: L2p::default(),
            dualprompt: DualPrompt::default(),
            coda: Coda::default(),
            slca: Slca::default(),
            buffer_size: 2048,
            gamma,
            keep_class_statistics: false,
            optimizer: OptimizerKind::Sgd,
            lr,
            momentum: 0.9,
            weight_decay: 5e-4,
            batch_size: 64,
            fit_batch: 256,
            epochs,
            init_epochs: epochs,
            fit_epochs: 3,
            init_classes: 10,
            increment: 10,
            tasks: Sizes::default(),
            class_seed: 1993,
            class_order: String::new(),
            seed: 0,
            data: "icons".into(),
            images: Settings { augment: profile == Profile::Official, ..Settings::default() },
            weights: "icons".into(),
            arch: auto(),
            fused_noise: true,
            f16_weights: false,
            f16_activations: false,
            memory_mib: 0,
        }
    }

    /// The defaults that settings like these start from.
    fn defaults(&self) -> Self {
        if self.method == Method::Min { Self::of(self.profile) } else { Self::of_method(self.method) }
    }

    /// Most bytes of device memory, by `memory_mib`.
    pub fn memory_limit(&self) -> u64 {
        if self.memory_mib == 0 { u64::MAX } else { (self.memory_mib as u64) << 20 }
    }
}

#[cfg(test)]
mod tests;
