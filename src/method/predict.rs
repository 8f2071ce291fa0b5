//! Classes of images, by any learner.

use crate::Result;
use crate::device::Tensor;
use crate::method::{Learner, Samples};
use crate::model::head;

/// Logits of all samples, batch by batch.
fn batches(learner: &dyn Learner, samples: &Samples, mut take: impl FnMut(Tensor) -> Result<()>) -> Result<()> {
    let device = learner.backbone().device();
    let batches = samples.batches(0..samples.len(), learner.fit_batch(), None);
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.images.len()).collect();
    let mut first = 0;
    for (pixels, size) in samples.stream(batches)?.zip(sizes) {
        take(learner.logits(&samples.upload(device, &pixels?, 0..size)?, first)?)?;
        first += size;
    }
    Ok(())
}

/// Predicted classes: argmax over the classes seen.
///
/// # Errors
/// Device errors, those of whoever brings the images.
pub async fn predict(learner: &dyn Learner, samples: &Samples) -> Result<Vec<u32>> {
    let device = learner.backbone().device();
    let mut pending = Vec::new();
    batches(learner, samples, |logits| {
        pending.push(head::predicted(device, &logits)?);
        Ok(())
    })?;
    let mut classes = Vec::with_capacity(samples.len());
    for out in pending {
        classes.extend(device.read_u32(&out).await?);
    }
    Ok(classes)
}

/// Logits [n, classes] of all samples, row after row.
///
/// # Errors
/// Device errors, those of whoever brings the images.
pub async fn logits(learner: &dyn Learner, samples: &Samples) -> Result<Vec<f32>> {
    let mut pending = Vec::new();
    batches(learner, samples, |logits| {
        pending.push(logits);
        Ok(())
    })?;
    let mut all = Vec::new();
    for logits in pending {
        all.extend(learner.backbone().device().read::<f32>(&logits).await?);
    }
    Ok(all)
}
