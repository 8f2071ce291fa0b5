//! All 65,536 halves but those that are no number, and an odd number of them.

use half::f16;
use minoise::Result;
use minoise::device::Device;
use minoise::kernels::unpack_halves::UnpackHalves;

use crate::harness::{Case, Output, case, input_u32, output, poisoned};

fn all(device: &Device, n: usize) -> Result<Vec<Output>> {
    let bits: Vec<u16> =
        (0x3c00..=u16::MAX).chain(0..0x3c00).filter(|&bits| f16::from_bits(bits).is_finite()).cycle().take(n).collect();
    let naive: Vec<f64> = bits.iter().map(|&bits| f16::from_bits(bits).to_f64()).collect();
    let words: Vec<u32> =
        bits.chunks(2).map(|pair| u32::from(pair[0]) | pair.get(1).map_or(0, |&x| u32::from(x) << 16)).collect();
    // Exact, but that a device may take what is below the normal halves for zero.
    let bound = naive
        .iter()
        .map(|x| if x.abs() < 6.2e-5 { x.abs().max(f64::MIN_POSITIVE) } else { f64::MIN_POSITIVE })
        .collect();
    let (words, x) = (input_u32(device, &words, &[n.div_ceil(2)])?, poisoned(device, &[n])?);
    device.run(&UnpackHalves { words: &words, x: &x })?;
    Ok(vec![output("x", x, bound).naive(|| naive)])
}

pub fn cases() -> Vec<Case> {
    [1, 2, 63_488, 63_487].map(|n| case(format!("unpack_halves [{n}]"), move |d| all(d, n))).into()
}

pub fn examples(device: &Device) -> Result<()> {
    all(device, 5).map(drop)
}
