//! Does inference slow down as tasks come? Images a second of ViT-Ti with folded noise layers, over the number of modules
//! T: profile `paper` (two-layer maps, which fold into one wide MLP) and `official` (one-layer maps and a linear branch,
//! which fold into one affine map whatever T is). Before anything is timed, folded and unfolded logits must agree.
//!
//! `MINOISE_DEVICE=cpu|auto|WORDS cargo bench --bench inference -- [FILTER]`; a filter is a part of an id, e.g. `official`.

mod common;
#[path = "common/network.rs"]
mod network;

use common::{Bench, Random, Work, agree};
use minoise::Result;
use minoise::autograd::{Linear, Tape};
use minoise::device::{Device, Tensor};
use minoise::model::fold::fold;
use minoise::model::network::{Behind, Drawn, Network};
use minoise::model::noise::Noise;
use network::Sizes;
use pollster::block_on;

const VIT_TI: Sizes = Sizes { name: "ViT-Ti", image: 224, patch: 16, dim: 192, depth: 12, heads: 3, d2: 96, batch: 8 };
const MODULES: [usize; 5] = [1, 5, 10, 20, 50];
/// Name, layers of a map, and whether it is profile `official`.
const PROFILES: [(&str, usize, bool); 2] = [("paper", 2, false), ("official", 1, true)];
/// Folded and unfolded layers sum in another order, twelve blocks deep.
const BOUND: f64 = 1e-3;

fn work(sizes: &Sizes, modules: usize, official: bool) -> Work {
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

fn main() {
    let mut bench = Bench::new("inference");
    for (profile, layers, official) in PROFILES {
        for modules in MODULES {
            let sizes = VIT_TI;
            let id = format!("{}xB{}/{profile}", sizes.name, sizes.batch);
            bench.time(&id, &format!("T{modules}"), work(&sizes, modules, official), |device| {
                let network = sizes.network(device, layers, modules, official)?;
                let head = sizes.head(device)?;
                let pixels = sizes.pixels(&mut Random::new());
                let images = device.upload(&pixels, &[sizes.batch, 3, sizes.image, sizes.image])?;
                let (folding, noise) = kind(official);
                let folded = block_on(fold(device, &network.noise, folding))?;
                let layers =
                    Behind::Layers { noise, drawn: Drawn { seed: 0, step: 0, first_row: 0 }, recompute: false };
                let want = logits(&network, &head, &images, layers)?;
                let got = logits(&network, &head, &images, Behind::Folded(&folded))?;
                agree(BOUND, (device, &[got]), (device, &[want]))?;
                Ok(move |_: &Device| Ok(vec![logits(&network, &head, &images, Behind::Folded(&folded))?]))
            });
        }
    }
    bench.finish();
}
