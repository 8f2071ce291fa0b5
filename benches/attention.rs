//! How near does attention come to the device's peak, forward and backward (both backward kernels)?
//!
//! `MINOISE_DEVICE=cpu|auto|WORDS cargo bench --bench attention -- [FILTER]`; a filter is a part of an id, e.g. `backward`.

mod common;

use common::{Bench, Random, Work, rounding};
use minoise::Result;
use minoise::device::{Device, Tensor};
use minoise::kernels::attention::Attention;
use minoise::kernels::attention_backward_key::{AttentionBackwardKey, Keys};
use minoise::kernels::attention_backward_query::AttentionBackwardQuery;

/// Images, heads, tokens, columns of a head: the small backbone, ViT-Ti and ViT-B.
const SHAPES: [[usize; 4]; 3] = [[16, 3, 65, 64], [4, 3, 197, 64], [2, 12, 197, 64]];

/// Two products of [tokens, tokens] by the columns of a head forward; five backward, as the scores are made again.
fn work([batch, heads, tokens, dim]: [usize; 4], backward: bool) -> Work {
    let (matrix, row) = (batch * heads * tokens * dim, batch * heads * tokens);
    let (products, elements) = if backward { (5, 8 * matrix + 3 * row) } else { (2, 4 * matrix + row) };
    Work { flops: 2.0 * (products * matrix * tokens) as f64, bytes: 4.0 * elements as f64, images: 0 }
}

fn attention(
    device: &Device,
    [batch, heads, tokens, dim]: [usize; 4],
    backward: bool,
) -> Result<impl FnMut(&Device) -> Result<Vec<Tensor>> + use<>> {
    let mut random = Random::new();
    let (rows, width, scores) = (batch * tokens, heads * dim, [batch * heads * tokens]);
    let qkv = random.tensor(device, &[rows, 3 * width], 1.0)?;
    let dy = random.tensor(device, &[rows, width], 1.0)?;
    let (out, lse) = (device.reals(&[rows, width])?, device.reals(&scores)?);
    let (delta, dqkv) = (device.reals(&scores)?, device.reals(&[rows, 3 * width])?);
    device.run(&Attention { qkv: &qkv, prefix: None, out: &out, lse: Some(&lse), batch, tokens, heads })?;
    Ok(move |device: &Device| {
        if !backward {
            device.run(&Attention { qkv: &qkv, prefix: None, out: &out, lse: Some(&lse), batch, tokens, heads })?;
            return Ok(vec![out.clone(), lse.clone()]);
        }
        let (qkv, out, dy, lse, delta, grad) = (&qkv, &out, &dy, &lse, &delta, &dqkv);
        let query = AttentionBackwardQuery { qkv, prefix: None, out, dy, lse, delta, dqkv: grad, batch, tokens, heads };
        device.run(&query)?;
        let keys = Keys::Tokens { dqkv: grad };
        device.run(&AttentionBackwardKey { qkv, dy, lse, delta, keys, batch, tokens, heads })?;
        Ok(vec![dqkv.clone()])
    })
}

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
