//! Replays of attention rollout and Grad-CAM that PyTorch computed.

use super::{Check, Judge};
use crate::Result;
use crate::device::Device;
use crate::model::architecture::Position;
use crate::model::explain::explain_frozen;
use crate::model::facts::Facts;
use crate::model::vit::{Architecture, Vit};
use crate::model::weights::Weights;
use crate::protocol::golden::Golden;

/// Both maps of every recorded image, for the class that is recorded.
pub(super) async fn explanations(
    golden: &Golden,
    weights: &Weights,
    told: Facts,
    device: &Device,
    oracle: bool,
) -> Result<Vec<Check>> {
    let (mut judge, tensors) = (Judge::new(device, golden, oracle), &golden.tensors);
    let &[images, channels, side, _] = tensors.shape("x")? else {
        return Err(tensors.error("`x` has other dimensions"));
    };
    let architecture = Architecture::of(weights, told, Some(side))?;
    // timm turns, and resamples, in single precision.
    judge.rounded = match architecture.style.position {
        Position::Learned { grid, .. } => grid != architecture.sizes.grid(),
        Position::Rotary { .. } => true,
    };
    let vit = Vit::load(device, architecture, weights.clone(), false)?;
    let head = device.upload(tensors.get("head")?, tensors.shape("head")?)?;
    let (pixels, classes) = (tensors.get("x")?, tensors.get("class")?);
    for (pixels, (image, &class)) in pixels.chunks(pixels.len() / images).zip(classes.iter().enumerate()) {
        let x = device.upload(pixels, &[1, channels, side, side])?;
        let found = explain_frozen(&vit, &x, Some(class as usize), &head).await?;
        for (group, name, got, single) in [
            ("scores", "scores", &found.scores, 1e-3),
            ("attention rollout", "rollout", &found.rollout, 1e-4),
            ("Grad-CAM", "grad_cam", &found.grad_cam, 1e-3),
        ] {
            let all = tensors.get(name)?;
            let want = &all[image * all.len() / images..][..all.len() / images];
            judge.compare_with(group, name, want, got, single)?;
        }
    }
    Ok(judge.checks)
}
