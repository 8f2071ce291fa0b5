//! Classes of images, by any learner.

use crate::Result;
use crate::device::Tensor;
use crate::method::{Learner, Samples};
use crate::model::head;

/// Logits of all samples, batch by batch.
fn batches<'a>(
    learner: &'a dyn Learner,
    samples: &'a Samples,
) -> Result<impl Iterator<Item = Result<Tensor>> + use<'a>> {
    let device = learner.backbone().device();
    let batches = samples.batches(0..samples.len(), learner.fit_batch(), None);
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.images.len()).collect();
    let mut first = 0;
    let mut pixels = samples.stream(batches)?;
    Ok(sizes.into_iter().map_while(move |size| {
        let loading = device.phase("images");
        let images = pixels.next()?.and_then(|pixels| samples.upload(device, &pixels, 0..size));
        drop(loading);
        let _inference = device.phase("inference");
        let logits = images.and_then(|images| learner.logits(&images, first));
        first += size;
        Some(logits)
    }))
}

/// Predicted classes: argmax over the classes seen. A batch is read while the next one is computed.
///
/// # Errors
/// Device errors, those of whoever brings the images.
pub async fn predict(learner: &dyn Learner, samples: &Samples) -> Result<Vec<u32>> {
    let device = learner.backbone().device();
    let (mut classes, mut pending) = (Vec::with_capacity(samples.len()), None);
    for logits in batches(learner, samples)? {
        let inference = device.phase("inference");
        let next = head::predicted(device, &logits?)?;
        drop(inference);
        if let Some(done) = pending.replace(next) {
            classes.extend(device.read_u32(&done).await?);
        }
    }
    if let Some(done) = pending {
        classes.extend(device.read_u32(&done).await?);
    }
    Ok(classes)
}

/// Logits [n, classes] of all samples, row after row.
///
/// # Errors
/// Device errors, those of whoever brings the images.
pub async fn logits(learner: &dyn Learner, samples: &Samples) -> Result<Vec<f32>> {
    let device = learner.backbone().device();
    let (mut all, mut pending) = (Vec::new(), None);
    for logits in batches(learner, samples)? {
        if let Some(done) = pending.replace(logits?) {
            all.extend(device.read::<f32>(&done).await?);
        }
    }
    if let Some(done) = pending {
        all.extend(device.read::<f32>(&done).await?);
    }
    Ok(all)
}
