//! Classes of images, by any learner.

use crate::Result;
use crate::device::{Device, Tensor};
use crate::method::{Learner, Samples};
use crate::model::head;

/// A batch of samples on the device.
pub(super) fn upload(device: &Device, samples: &Samples, pixels: &[f32]) -> Result<Tensor> {
    let [c, h, w] = samples.shape();
    device.upload(pixels, &[pixels.len() / (c * h * w), c, h, w])
}

/// Logits of all samples, batch by batch.
fn batches(learner: &dyn Learner, samples: &Samples, mut take: impl FnMut(Tensor) -> Result<()>) -> Result<()> {
    let device = learner.backbone().device();
    let batches = samples.batches(learner.fit_batch(), None);
    for (i, pixels) in samples.stream(batches)?.enumerate() {
        take(learner.logits(&upload(device, samples, &pixels?)?, i)?)?;
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
