//! Replays of features that timm computed.

use super::{Check, Judge};
use crate::Result;
use crate::device::Device;
use crate::model::architecture::Position;
use crate::model::facts::Facts;
use crate::model::position::resample;
use crate::model::vit::{Architecture, Vit};
use crate::model::weights::Weights;
use crate::protocol::golden::Golden;

/// Features of the recorded images, each size with the position embedding made for it.
pub(super) async fn features(
    golden: &Golden,
    weights: &Weights,
    told: &Facts,
    device: &Device,
    oracle: bool,
) -> Result<Vec<Check>> {
    let mut judge = Judge::new(device, golden, oracle);
    for size in golden.image_sizes() {
        let architecture = Architecture::of(weights, told.clone(), Some(size))?;
        // Refuses tensors that are not of these shapes, before any is read here.
        let vit = Vit::load(device, architecture, weights.clone(), false)?;
        let (c, position) = (vit.architecture.sizes, vit.architecture.style.position);
        // timm turns, and resamples, in single precision.
        judge.rounded = match position {
            Position::Learned { grid, .. } => grid != c.grid(),
            Position::Rotary { .. } => true,
        };
        let pos = format!("pos_embed{size}");
        if let (true, Position::Learned { grid, front }) = (golden.tensors.has(&pos), position) {
            let (first, patches) = weights.get("pos_embed")?.split_at(front * c.dim);
            let resized = [first, &resample(patches, grid, c.grid(), c.dim)].concat();
            judge.compare("position embedding", &pos, &resized, 1e-4)?;
        }
        let x = format!("x{size}");
        let images = device.upload(golden.tensors.get(&x)?, golden.tensors.shape(&x)?)?;
        let (f, blocks) = vit.frozen(&images)?;
        let got: Vec<f64> = device.read(&f).await?;
        judge.compare("features", &format!("features{size}"), &got, 1e-4)?;
        let behind = format!("block_cls{size}");
        if golden.tensors.has(&behind) {
            let mut tokens: Vec<Vec<f64>> = Vec::new();
            for x in &blocks {
                tokens.push(device.read(x).await?);
            }
            // Recorded as [B, depth, d1].
            let d = f.cols();
            let of = |image: usize| tokens.iter().flat_map(move |x| &x[image * d..][..d]).copied();
            let all: Vec<f64> = (0..f.rows()).flat_map(of).collect();
            judge.compare("class token by block", &behind, &all, 1e-4)?;
        }
    }
    Ok(judge.checks)
}
