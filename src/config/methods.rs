//! Settings of single methods, one table each.

mod prompts;

use serde::{Deserialize, Serialize};

use super::validate::{MAX_BUFFER, MAX_EPOCHS, check};
use crate::Result;

pub use prompts::{Coda, DualPrompt, L2p};

/// What profile `robust` adds to MiN (SPEC section 9); every part can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Robust {
    /// Whether half of the random features are of the untouched backbone.
    pub anchor: bool,
    /// Epochs in which linear branches and LayerNorms are trained, before the first task is learned; 0 for none.
    pub adapt_epochs: usize,
    /// Learning rate of that.
    pub adapt_lr: f64,
    /// Whether training also tells by how many quarters images are turned.
    pub rotation: bool,
    /// Whether the noise modules see normalised tokens, and add in the scale of the block that they stand behind.
    pub scale_free: bool,
    /// Whether the analytic logits are scaled to the least cross-entropy of held-out images, for training.
    pub calibrate: bool,
    /// Ridge of the map that carries old statistics over to new features, relative to the mean square of a feature times the
    /// number of images; 0 leaves old statistics as they are.
    pub compensation: f64,
}

impl Default for Robust {
    fn default() -> Self {
        Self {
            anchor: true,
            adapt_epochs: 12,
            adapt_lr: 0.005,
            rotation: true,
            scale_free: true,
            calibrate: true,
            compensation: 0.1,
        }
    }
}

/// With less the equations of a map are too ill-conditioned for a device without float64.
const LEAST_COMPENSATION: f64 = 1e-4;

impl Robust {
    pub(super) fn validate(&self) -> Result<()> {
        let Self { adapt_epochs, adapt_lr, compensation, .. } = *self;
        let most = format!("from 0 to {MAX_EPOCHS}");
        check(adapt_epochs <= MAX_EPOCHS, "robust.adapt_epochs", adapt_epochs, &most)?;
        check((adapt_lr as f32).is_normal() && adapt_lr > 0.0, "robust.adapt_lr", adapt_lr, "a positive number")?;
        let ridge = (compensation as f32).is_finite() && (compensation == 0.0 || compensation >= LEAST_COMPENSATION);
        check(ridge, "robust.compensation", compensation, &format!("0 or a number from {LEAST_COMPENSATION} on"))
    }
}

/// RanPAC (RIVALS section 3). Its ridge is chosen at every task.
///
/// Source: `M` of the authors' `args/*.json`, github.com/RanPAC/RanPAC.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RanPac {
    /// The number of random features, M.
    pub projection: usize,
    /// Whether the first task trains adapters, as [`Aper`] does by default, for the features of the backbone.
    pub adapters: bool,
}

impl Default for RanPac {
    fn default() -> Self {
        Self { projection: 10_000, adapters: false }
    }
}

impl RanPac {
    pub(super) fn validate(&self) -> Result<()> {
        check_features("ranpac.projection", self.projection)
    }
}

/// FeCAM (RIVALS section 4).
///
/// Source: `FeCAM_vit_cifar100.py`, github.com/dipamgoswami/FeCAM; for ImageNet-R the authors have `[10, 10]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeCam {
    /// How much of the mean variance is added to the variances of a class, and how much of the mean covariance to its other
    /// covariances.
    pub shrink: [f64; 2],
}

impl Default for FeCam {
    fn default() -> Self {
        Self { shrink: [1.0, 0.0] }
    }
}

impl FeCam {
    pub(super) fn validate(&self) -> Result<()> {
        let holds = self.shrink.iter().all(|&share| (share as f32).is_finite() && share >= 0.0);
        check(holds, "fecam.shrink", format!("{:?}", self.shrink), "two numbers, 0 or positive")
    }
}

/// ACIL on a backbone that is frozen at once (RIVALS section 5).
///
/// Source: `analytic/ACIL.py`, github.com/ZHUANGHP/Analytic-continual-learning; for ImageNet the authors have 16384 features.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Acil {
    /// The number of random features, m.
    pub buffer_size: usize,
    /// Ridge added to the Gram matrix.
    pub gamma: f64,
}

impl Default for Acil {
    fn default() -> Self {
        Self { buffer_size: 8192, gamma: 0.1 }
    }
}

impl Acil {
    pub(super) fn validate(&self) -> Result<()> {
        check_features("acil.buffer_size", self.buffer_size)?;
        check_ridge("acil.gamma", self.gamma)
    }
}

/// DS-AL on a backbone that is frozen at once (RIVALS section 5).
///
/// Source: `analytic/DSAL.py`, github.com/ZHUANGHP/Analytic-continual-learning, for CIFAR-100; for ImageNet the authors have
/// 16384 features and a compensation of 1.5.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DsAl {
    /// The number of random features of each stream, m.
    pub buffer_size: usize,
    /// Ridge of the main stream.
    pub gamma: f64,
    /// Ridge of the second stream.
    pub gamma_comp: f64,
    /// How much of the second stream is added to the scores of the first.
    pub compensation: f64,
}

impl Default for DsAl {
    fn default() -> Self {
        Self { buffer_size: 8192, gamma: 0.1, gamma_comp: 0.1, compensation: 0.6 }
    }
}

impl DsAl {
    pub(super) fn validate(&self) -> Result<()> {
        check_features("dsal.buffer_size", self.buffer_size)?;
        check_ridge("dsal.gamma", self.gamma)?;
        check_ridge("dsal.gamma_comp", self.gamma_comp)?;
        let share = self.compensation;
        check((share as f32).is_finite() && share >= 0.0, "dsal.compensation", share, "0 or a positive number")
    }
}

/// APER with adapters (RIVALS section 11), which the first task trains. In the authors' setting images are changed at random
/// for that (`augment`).
///
/// Source: `exps/aper_adapter.json`, `convs/vision_transformer_adapter.py`, github.com/LAMDA-CL/LAMDA-PILOT.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Aper {
    /// Hidden numbers of an adapter, r.
    pub hidden: usize,
    /// What the output of adapters is multiplied by.
    pub scale: f64,
    /// Share of the hidden numbers that is dropped while they are trained.
    pub dropout: f64,
}

impl Default for Aper {
    fn default() -> Self {
        Self { hidden: 64, scale: 0.1, dropout: 0.1 }
    }
}

impl Aper {
    pub(super) fn validate(&self) -> Result<()> {
        check_adapters("aper", self.hidden, self.scale, self.dropout)
    }
}

/// EASE (RIVALS section 12): adapters of every task.
///
/// Source: `exps/ease_cifar.json`, github.com/sun-hailong/CVPR24-Ease.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ease {
    /// Hidden numbers of an adapter, r.
    pub hidden: usize,
    /// What the output of adapters is multiplied by.
    pub scale: f64,
    /// Share of the hidden numbers that is dropped while they are trained.
    pub dropout: f64,
    /// Weight of the subspaces of other tasks than that of a class, all together.
    pub alpha: f64,
}

impl Default for Ease {
    fn default() -> Self {
        let Aper { hidden, scale, dropout } = Aper::default();
        Self { hidden, scale, dropout, alpha: 0.1 }
    }
}

impl Ease {
    pub(super) fn validate(&self) -> Result<()> {
        check_adapters("ease", self.hidden, self.scale, self.dropout)?;
        check_weight("ease.alpha", self.alpha)
    }
}

/// The most hidden numbers of an adapter.
const MAX_HIDDEN: usize = 1 << 12;

fn check_adapters(table: &str, hidden: usize, scale: f64, dropout: f64) -> Result<()> {
    let key = |name: &str| format!("{table}.{name}");
    check((1..=MAX_HIDDEN).contains(&hidden), &key("hidden"), hidden, &format!("from 1 to {MAX_HIDDEN}"))?;
    check_ridge(&key("scale"), scale)?;
    check((0.0..1.0).contains(&dropout), &key("dropout"), dropout, "from 0 to below 1")
}

/// SLCA (RIVALS section 9). `lr` is the rate of the heads.
///
/// Source: `exps/slca_cifar.json`, `models/slca.py`, github.com/GengDavid/SLCA, for CIFAR-100; for ImageNet-R, CUB and Cars the
/// authors have 50 epochs and the milestone 40, for Cars a temperature of 0.05.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Slca {
    /// Learning rate of the backbone, relative to that of the heads.
    pub backbone_rate: f64,
    /// Epochs, counted from 0, from each of which on rates are `lr_decay` of what they were.
    pub milestones: Vec<usize>,
    /// See `milestones`.
    pub lr_decay: f64,
    /// Added to the variances of a class.
    pub cov_ridge: f64,
    /// Learning rate of the alignment.
    pub ca_lr: f64,
    /// Epochs of the alignment.
    pub ca_epochs: usize,
    /// Features that are drawn of each class in an epoch of the alignment, and of all classes in a batch.
    pub ca_samples: usize,
    /// Temperature of the logits in the alignment.
    pub ca_temperature: f64,
}

impl Default for Slca {
    fn default() -> Self {
        Self {
            backbone_rate: 0.01,
            milestones: vec![18],
            lr_decay: 0.1,
            cov_ridge: 1e-4,
            ca_lr: 0.01,
            ca_epochs: 5,
            ca_samples: 256,
            ca_temperature: 0.1,
        }
    }
}

impl Slca {
    pub(super) fn validate(&self) -> Result<()> {
        check_weight("slca.backbone_rate", self.backbone_rate)?;
        check_weight("slca.cov_ridge", self.cov_ridge)?;
        check_ridge("slca.lr_decay", self.lr_decay)?;
        check_ridge("slca.ca_lr", self.ca_lr)?;
        check_ridge("slca.ca_temperature", self.ca_temperature)?;
        let Self { ca_epochs, ca_samples, .. } = *self;
        check((1..=MAX_EPOCHS).contains(&ca_epochs), "slca.ca_epochs", ca_epochs, &format!("from 1 to {MAX_EPOCHS}"))?;
        let expected = format!("from 1 to {MAX_DRAWN}");
        check((1..=MAX_DRAWN).contains(&ca_samples), "slca.ca_samples", ca_samples, &expected)
    }
}

/// The most features that are drawn of a class at once.
const MAX_DRAWN: usize = 1 << 16;

fn check_weight(key: &str, weight: f64) -> Result<()> {
    check((weight as f32).is_finite() && weight >= 0.0, key, weight, "0 or a positive number")
}

fn check_features(key: &str, features: usize) -> Result<()> {
    check((1..=MAX_BUFFER).contains(&features), key, features, &format!("from 1 to {MAX_BUFFER}"))
}

fn check_ridge(key: &str, ridge: f64) -> Result<()> {
    check((ridge as f32).is_normal() && ridge > 0.0, key, ridge, "a positive number")
}
