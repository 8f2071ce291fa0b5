//! Scatter of the class tokens' gradients.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::class_token_backward::ClassTokenBackward;

use crate::class_token::SIZES;
use crate::harness::{Case, Output, case, output, poisoned, random};

fn scatter(device: &Device, [b, tokens, d]: [usize; 3]) -> Result<Vec<Output>> {
    let dy = random(device, 1, &[b, d])?;
    let dx = poisoned(device, &[b, tokens, d])?;
    device.run(&ClassTokenBackward { dy: &dy, dx: &dx })?;
    // Copies are exact.
    Ok(vec![output("dx", dx, vec![f64::MIN_POSITIVE])])
}

pub fn cases() -> Vec<Case> {
    SIZES.map(|size| case(format!("class_token_backward {size:?}"), move |d| scatter(d, size))).into()
}

pub fn examples(device: &Device) -> Result<()> {
    scatter(device, SIZES[1]).map(drop)
}
