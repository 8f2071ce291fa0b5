use minoise::Result;
use minoise::device::Device;

use crate::harness::Case;

pub fn cases() -> Vec<Case> {
    Vec::new()
}

pub fn examples(_: &Device) -> Result<()> {
    Ok(())
}
