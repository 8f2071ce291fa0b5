//! All heads of a batch: the forward pass with log-sum-exp, or both backward kernels.

use super::{Random, Work};
use crate::Result;
use crate::device::{Device, Tensor};
use crate::kernels::attention::Attention;
use crate::kernels::attention_backward_key::{AttentionBackwardKey, Keys};
use crate::kernels::attention_backward_query::AttentionBackwardQuery;

/// Two products of [tokens, tokens] by the columns of a head forward; five backward, as the scores are made again.
pub fn work([batch, heads, tokens, dim]: [usize; 4], backward: bool) -> Work {
    let (matrix, row) = (batch * heads * tokens * dim, batch * heads * tokens);
    let (products, elements) = if backward { (5, 8 * matrix + 3 * row) } else { (2, 4 * matrix + row) };
    Work { flops: 2.0 * (products * matrix * tokens) as f64, bytes: 4.0 * elements as f64, images: 0 }
}

/// Passes of one direction.
///
/// # Errors
/// Device errors.
pub fn attention(
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
