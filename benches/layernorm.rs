//! How near does layer normalisation come to the device's bandwidth, forward (with statistics) and backward?
//!
//! `MINOISE_DEVICE=cpu|auto|WORDS cargo bench --bench layernorm -- [FILTER]`; a filter is a part of an id, e.g. `192`.

mod common;

use common::Bench;
use minoise::Result;
use minoise::bench::{Random, Work, rounding};
use minoise::device::{Device, Tensor};
use minoise::kernels::layernorm::LayerNorm;
use minoise::kernels::layernorm_backward::LayerNormBackward;

/// Token rows and embedding: 16 images of ViT-Ti, 8 of ViT-B.
const SHAPES: [[usize; 2]; 2] = [[3152, 192], [1576, 768]];

/// Forward reads x and writes out; backward reads x and dy and writes dx. Operations: mean (1), variance (3), result (4);
/// backward xhat and g (3), their two means (3), result (4).
fn work([rows, cols]: [usize; 2], backward: bool) -> Work {
    let n = (rows * cols) as f64;
    let (operations, matrices) = if backward { (10.0, 3.0) } else { (8.0, 2.0) };
    Work { flops: operations * n, bytes: 4.0 * (matrices * n + 2.0 * (rows + cols) as f64), images: 0 }
}

fn layernorm(
    device: &Device,
    shape: [usize; 2],
    backward: bool,
) -> Result<impl FnMut(&Device) -> Result<Vec<Tensor>> + use<>> {
    let mut random = Random::new();
    let [x, dy] = [random.tensor(device, &shape, 1.0)?, random.tensor(device, &shape, 1.0)?];
    let [gamma, beta] = [random.tensor(device, &shape[1..], 1.0)?, random.tensor(device, &shape[1..], 1.0)?];
    let (out, stats) = (device.reals(&shape)?, device.reals(&[shape[0], 2])?);
    device.run(&LayerNorm { stats: Some(&stats), ..LayerNorm::new(&x, &gamma, &beta, &out, 1e-6) })?;
    Ok(move |device: &Device| {
        if backward {
            device.run(&LayerNormBackward {
                x: &x,
                gamma: &gamma,
                stats: &stats,
                dy: &dy,
                dx: &out,
                accumulate: false,
            })?;
            return Ok(vec![out.clone()]);
        }
        device.run(&LayerNorm { stats: Some(&stats), ..LayerNorm::new(&x, &gamma, &beta, &out, 1e-6) })?;
        Ok(vec![out.clone(), stats.clone()])
    })
}

fn main() {
    let mut bench = Bench::new("layernorm");
    for shape in SHAPES {
        let [rows, cols] = shape;
        for (name, backward) in [("forward", false), ("backward", true)] {
            let build = |device: &Device| layernorm(device, shape, backward);
            bench.time_against_twins(&format!("{rows}x{cols}"), name, work(shape, backward), rounding(cols), build);
        }
    }
    bench.finish();
}
