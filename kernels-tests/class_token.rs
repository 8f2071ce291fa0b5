//! Gather of the class tokens.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::class_token::ClassToken;

use crate::harness::{Case, Output, case, output, poisoned, random};

/// Batch, tokens, columns.
pub const SIZES: [[usize; 3]; 5] = [[1, 1, 1], [3, 5, 7], [2, 17, 128], [1, 2, 257], [67, 3, 61]];

fn gather(device: &Device, [b, tokens, d]: [usize; 3]) -> Result<Vec<Output>> {
    let x = random(device, 1, &[b, tokens, d])?;
    let out = poisoned(device, &[b, d])?;
    device.run(&ClassToken { x: &x, out: &out })?;
    // Copies are exact.
    Ok(vec![output("out", out, vec![f64::MIN_POSITIVE])])
}

pub fn cases() -> Vec<Case> {
    SIZES.map(|size| case(format!("class_token {size:?}"), move |d| gather(d, size))).into()
}

pub fn examples(device: &Device) -> Result<()> {
    gather(device, SIZES[1]).map(drop)
}
