//! How near does attention come to the device's peak, forward and backward (both backward kernels)?
//!
//! `MINOISE_DEVICE=cpu|auto|WORDS cargo bench --bench attention -- [FILTER]`; a filter is a part of an id, e.g. `backward`.

mod common;

use common::Bench;
use minoise::bench::attention::{attention, work};
use minoise::bench::rounding;
use minoise::device::Device;

/// Images, heads, tokens, columns of a head: the small backbone, ViT-Ti and ViT-B.
const SHAPES: [[usize; 4]; 3] = [[16, 3, 65, 64], [4, 3, 197, 64], [2, 12, 197, 64]];

fn main() {
    let mut bench = Bench::new("attention");
    for shape in SHAPES {
        let [batch, heads, tokens, dim] = shape;
        for (name, backward) in [("forward", false), ("backward", true)] {
            let build = |device: &Device| attention(device, shape, backward);
            let id = format!("B{batch}xH{heads}xN{tokens}xD{dim}");
            bench.time_against_twins(&id, name, work(shape, backward), rounding(tokens), build);
        }
    }
    bench.finish();
}
