//! How near do matrix products come to the device's peak? Plain products in all three layouts, and one with the epilogue
//! of an MLP's first layer (bias and GELU, the value before it kept), at the sizes of ViT-Ti and ViT-B.
//!
//! `MINOISE_DEVICE=cpu|auto|WORDS cargo bench --bench gemm -- [FILTER]`; a filter is a part of an id, e.g. `NT`.

mod common;

use common::{Bench, Random, Work, rounding};
use minoise::Result;
use minoise::device::{Device, Tensor};
use minoise::kernels::gemm::{Activation, Gemm, Layout, Mat};

/// m, k, n: rows, length of the sums, columns. The second and third are those of 16 images of 65 tokens.
const SHAPES: [[usize; 3]; 4] = [[768, 768, 768], [1024, 192, 768], [1040, 192, 192], [3152, 768, 3072]];
const VARIANTS: [(&str, Layout, bool); 4] = [
    ("NN", Layout::NN, false),
    ("NT", Layout::NT, false),
    ("TN", Layout::TN, false),
    ("NN+bias+gelu", Layout::NN, true),
];

fn work([m, k, n]: [usize; 3], epilogue: bool) -> Work {
    let results = if epilogue { 2 * m * n + n } else { m * n };
    Work { flops: 2.0 * (m * k * n) as f64, bytes: 4.0 * (m * k + k * n + results) as f64, images: 0 }
}

fn product(
    device: &Device,
    [m, k, n]: [usize; 3],
    layout: Layout,
    epilogue: bool,
) -> Result<impl FnMut(&Device) -> Result<Vec<Tensor>> + use<>> {
    let mut random = Random::new();
    let a = random.tensor(device, &if layout == Layout::TN { [k, m] } else { [m, k] }, 1.0)?;
    let b = random.tensor(device, &if layout == Layout::NT { [n, k] } else { [k, n] }, (k as f32).sqrt().recip())?;
    let bias = random.tensor(device, &[n], 1.0)?;
    let (out, pre) = (device.reals(&[m, n])?, device.reals(&[m, n])?);
    Ok(move |device: &Device| {
        let plain = Gemm::new(layout, &a, &b, &out)?;
        if !epilogue {
            device.run(&plain)?;
            return Ok(vec![out.clone()]);
        }
        let (bias, pre_out) = (Some(Mat::of(&bias)), Some(&pre));
        device.run(&Gemm { bias, pre: pre_out, activation: Activation::Gelu, ..plain })?;
        Ok(vec![out.clone(), pre.clone()])
    })
}

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
