//! Settings of single methods, one table each.

use serde::{Deserialize, Serialize};

use super::validate::{MAX_BUFFER, MAX_EPOCHS, check};
use crate::Result;

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

impl Robust {
    pub(super) fn validate(&self) -> Result<()> {
        let Self { adapt_epochs, adapt_lr, compensation, .. } = *self;
        let most = format!("from 0 to {MAX_EPOCHS}");
        check(adapt_epochs <= MAX_EPOCHS, "robust.adapt_epochs", adapt_epochs, &most)?;
        check((adapt_lr as f32).is_normal() && adapt_lr > 0.0, "robust.adapt_lr", adapt_lr, "a positive number")?;
        let ridge = (compensation as f32).is_finite() && compensation >= 0.0;
        check(ridge, "robust.compensation", compensation, "0 or a positive number")
    }
}

/// RanPAC without adapters (RIVALS section 3). Its ridge is chosen at every task.
///
/// Source: `M` of the authors' `args/*.json`, github.com/RanPAC/RanPAC.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RanPac {
    /// The number of random features, M.
    pub projection: usize,
}

impl Default for RanPac {
    fn default() -> Self {
        Self { projection: 10_000 }
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

fn check_features(key: &str, features: usize) -> Result<()> {
    check((1..=MAX_BUFFER).contains(&features), key, features, &format!("from 1 to {MAX_BUFFER}"))
}

fn check_ridge(key: &str, ridge: f64) -> Result<()> {
    check((ridge as f32).is_normal() && ridge > 0.0, key, ridge, "a positive number")
}
