//! Logits of a batch by a ViT with folded noise layers of T modules: profile `paper` (two-layer maps, which fold into one
//! wide MLP) and `official` (one-layer maps and a linear branch, which fold into one affine map whatever T is).

use super::network::Sizes;
use super::{Random, Work, agree};
use crate::autograd::{Linear, Tape};
use crate::device::{Device, Tensor};
use crate::model::fold::fold;
use crate::model::network::{Behind, Drawn, Network};
use crate::model::noise::Noise;
use crate::{Result, host};

/// Folded and unfolded layers sum in another order, twelve blocks deep.
const BOUND: f64 = 1e-3;

/// What one batch needs.
pub fn work(sizes: &Sizes, modules: usize, official: bool) -> Work {
    let (rows, dim, d2) = (sizes.rows() as f64, sizes.dim as f64, sizes.d2 as f64);
    // Multiplications a token in one folded layer, which are also its weights.
    let layer = if official { dim * dim } else { 2.0 * dim * d2 + 2.0 * modules as f64 * d2 * d2 };
    let depth = sizes.depth as f64;
    Work {
        flops: sizes.ends_flops() + depth * (sizes.block_flops() + 2.0 * rows * layer),
        bytes: sizes.weight_bytes() + 4.0 * depth * layer,
        images: sizes.batch,
    }
}

/// Logits [B, classes].
fn logits(network: &Network, head: &Tensor, images: &Tensor, behind: Behind<'_>) -> Result<Tensor> {
    let mut tape = Tape::new(&network.device, []);
    let f = network.features(&mut tape, images, behind)?;
    let p = network.random_features(&mut tape, &f, None)?;
    let w = tape.var(head);
    Ok(tape.linear(&p, Linear { transposed: true, ..Linear::new(&w) })?.value().clone())
}

/// The kind of noise that a profile infers with, as folding and as a pass through the layers take it.
fn kind(official: bool) -> (Noise, fn(Drawn, u32) -> Noise) {
    if official { (Noise::Plain, |_, _| Noise::Plain) } else { (Noise::Mean, |_, _| Noise::Mean) }
}

/// Passes of one network, once folded and unfolded logits have agreed.
///
/// # Errors
/// [`agree`]'s, and device errors.
pub fn inference(
    device: &Device,
    sizes: Sizes,
    modules: usize,
    official: bool,
) -> Result<impl FnMut(&Device) -> Result<Vec<Tensor>> + use<>> {
    let network = sizes.network(device, if official { 1 } else { 2 }, modules, official)?;
    let head = sizes.head(device)?;
    let pixels = sizes.pixels(&mut Random::new());
    let images = device.upload(&pixels, &[sizes.batch, 3, sizes.image, sizes.image])?;
    let (folding, noise) = kind(official);
    let folded = host::wait(fold(device, &network.noise, folding), "folding")?;
    let layers = Behind::Layers { noise, drawn: Drawn { seed: 0, step: 0, first_row: 0 }, recompute: false };
    let want = logits(&network, &head, &images, layers)?;
    let got = logits(&network, &head, &images, Behind::Folded(&folded))?;
    agree(BOUND, (device, &[got]), (device, &[want]))?;
    Ok(move |_: &Device| Ok(vec![logits(&network, &head, &images, Behind::Folded(&folded))?]))
}
