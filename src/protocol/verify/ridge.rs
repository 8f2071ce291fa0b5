//! Replays of ridge regressions.

use super::{Check, Judge};
use crate::Result;
use crate::device::Device;
use crate::model::head::{self, Statistics};
use crate::protocol::golden::{Golden, RidgeCase};

/// Rows of `p` that a replay adds at once: a prime, so that the last batch is a part.
const BATCH: usize = 97;

/// Gathers the recorded features in batches, solves, and judges W and the logits of the test features.
pub(super) async fn replay(golden: &Golden, case: &RidgeCase, device: &Device, oracle: bool) -> Result<Vec<Check>> {
    let mut judge = Judge::new(device, golden, oracle);
    let tensors = &golden.tensors;
    let [m, classes] = tensors.matrix("W")?;
    let labels: Vec<u32> = tensors.get("y")?.iter().map(|&y| y as u32).collect();
    let mut statistics = Statistics::new(device, m)?;
    statistics.widen(classes)?;
    for (p, y) in tensors.get("p")?.chunks(BATCH * m).zip(labels.chunks(BATCH)) {
        statistics.add(device, &device.upload(p, &[y.len(), m])?, y).await?;
    }
    let w = statistics.solve(device, case.gamma, &mut |_| ()).await?.weights;
    let p = device.upload(tensors.get("test.p")?, tensors.shape("test.p")?)?;
    let logits: Vec<f64> = device.read(&head::logits(device, &p, &w)?).await?;
    let (of_w, of_logits) = if case.condition < 1e6 { (1e-4, 5e-5) } else { (1e-3, 1e-3) };
    judge.transposed("W", "W", &w, of_w).await?;
    judge.compare("logits", "test.logits", &logits, of_logits)?;
    judge.predictions("test.logits", &logits, classes)?;
    Ok(judge.checks)
}
