//! Replays golden files and compares every recorded result (SPEC section 8, RIVALS section 13).

mod adapters;
mod explained;
mod judge;
mod min;
mod prompts;
mod ridge;
mod rival;
mod slca;
mod vit;

use std::path::Path;

use serde::Serialize;

use crate::config::Profile;
use crate::device::Device;
use crate::protocol::golden::{Case, Golden};
use crate::{Error, Result, host};

use judge::{Judge, top};

/// Largest error of a group of tensors, relative to the largest entry of each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What the tensors are, such as `features` or `W`.
    pub group: String,
    /// How many were compared.
    pub tensors: usize,
    /// The error of the worst tensor; of predictions, how many differ.
    pub error: f64,
    /// The largest error that passes.
    pub tolerance: f64,
    /// The tensor with the largest ratio of error to tolerance.
    pub worst: String,
    /// Whether every tensor was within its tolerance.
    pub passed: bool,
}

/// What became of one golden file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What was compared, group by group.
    Checked(Vec<Check>),
    /// Why the file was not replayed.
    NotRun(String),
}

/// The replay of one file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replay {
    /// The file's name, without its folder.
    pub file: String,
    /// Backend, adapter and driver.
    pub device: String,
    /// Seconds that it took, reading included.
    pub seconds: f64,
    /// What came of it.
    pub outcome: Outcome,
}

impl Replay {
    /// No tolerance was exceeded.
    pub fn passed(&self) -> bool {
        match &self.outcome {
            Outcome::Checked(checks) => checks.iter().all(|c| c.passed),
            Outcome::NotRun(_) => true,
        }
    }
}

/// Replays `path` on `device`. With `oracle` the device computes in f64 and must meet 1e-8 (1e-6 for tensors that the
/// file stores in f32).
///
/// # Errors
/// [`Error::Io`]; [`Error::Golden`] where the file is damaged or cannot be replayed; device errors.
pub async fn verify(path: &Path, device: &Device, oracle: bool) -> Result<Replay> {
    replayed(path, device, oracle).await.map_err(|e| match e {
        // These say nothing of the file.
        Error::Io { .. }
        | Error::Shader { .. }
        | Error::DeviceLost { .. }
        | Error::OutOfMemory { .. }
        | Error::Validation { .. } => e,
        Error::Weights { file, message } => Error::Golden { file, message },
        e => Error::Golden { file: path.display().to_string(), message: e.to_string() },
    })
}

async fn replayed(path: &Path, device: &Device, oracle: bool) -> Result<Replay> {
    let start = host::Instant::now();
    let golden = Golden::read(path)?;
    let outcome = match &golden.case {
        Case::Vit(case) | Case::Explained(case) => match golden.backbone(case)? {
            None => {
                Outcome::NotRun(format!("there is no {} above its folder", case.weights.as_deref().unwrap_or_default()))
            }
            Some((weights, told)) => Outcome::Checked(match golden.case {
                Case::Vit(_) => vit::features(&golden, &weights, &told, device, oracle).await?,
                _ => explained::explanations(&golden, &weights, told, device, oracle).await?,
            }),
        },
        Case::Rival(case) => rival::replay(&golden, case, device, oracle).await?,
        Case::Ridge(case) => Outcome::Checked(ridge::replay(&golden, case, device, oracle).await?),
        Case::Run(case) => {
            let core = golden.core(case, device)?;
            let checks = match case.profile {
                Profile::Paper => min::replay(&golden, case, golden.paper(case, core)?, oracle).await?,
                Profile::Official => min::replay(&golden, case, golden.official(case, core)?, oracle).await?,
                Profile::Robust => return Err(golden.tensors.error("no file records a run of profile `robust`")),
            };
            Outcome::Checked(checks)
        }
    };
    Ok(Replay { file: golden.name, device: device.name().into(), seconds: start.elapsed().as_secs_f64(), outcome })
}
