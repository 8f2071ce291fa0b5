//! How near do matrix products come to the device's peak? Plain products in all three layouts, and one with the epilogue
//! of an MLP's first layer (bias and GELU, the value before it kept), at the sizes of ViT-Ti and ViT-B.
//!
//! `MINOISE_DEVICE=cpu|auto|WORDS cargo bench --bench gemm -- [FILTER]`; a filter is a part of an id, e.g. `NT`.

mod common;

use common::Bench;
use minoise::bench::gemm::{product, work};
use minoise::bench::rounding;
use minoise::device::Device;
use minoise::kernels::gemm::Layout;

/// m, k, n: rows, length of the sums, columns. The second and third are those of 16 images of 65 tokens.
const SHAPES: [[usize; 3]; 4] = [[768, 768, 768], [1024, 192, 768], [1040, 192, 192], [3152, 768, 3072]];
const VARIANTS: [(&str, Layout, bool); 4] = [
    ("NN", Layout::NN, false),
    ("NT", Layout::NT, false),
    ("TN", Layout::TN, false),
    ("NN+bias+gelu", Layout::NN, true),
];

fn main() {
    let mut bench = Bench::new("gemm");
    for shape in SHAPES {
        let [m, k, n] = shape;
        for (name, layout, epilogue) in VARIANTS {
            let build = |device: &Device| product(device, shape, layout, epilogue);
            bench.time_against_twins(&format!("{m}x{k}x{n}"), name, work(shape, epilogue), rounding(k), build);
        }
    }
    bench.finish();
}
