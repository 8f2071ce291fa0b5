//! Reals to halves and back: what comes back is near, beyond the ends of halves as well.

use minoise::Result;
use minoise::device::{DType, Device};
use minoise::kernels::pack_halves::PackHalves;
use minoise::kernels::unpack_halves::UnpackHalves;

use crate::harness::{Case, Output, case, input, numbers, output, poisoned, poisoned_u32, wide};

/// The last one needs more than 65,535 workgroups of 256 threads.
const SIZES: [usize; 7] = [1, 2, 3, 511, 512, 4_099, 33_554_435];
const LARGEST: f64 = 65_504.0;

/// Numbers of all sizes: most around 1, some as small and as large as halves go and beyond.
fn values(n: usize) -> Vec<f32> {
    let scale = [1.0, 1e-3, 300.0, 1e-5, 6e4, 1e-9, 1e6];
    numbers(1, n).iter().enumerate().map(|(i, x)| x * scale[i % scale.len()]).collect()
}

fn there_and_back(device: &Device, n: usize) -> Result<Vec<Output>> {
    let x = values(n);
    let naive: Vec<f64> = wide(&x).iter().map(|x| x.clamp(-LARGEST, LARGEST)).collect();
    // A device may round to either neighbour, and may take what is below the normal halves for zero.
    let bound = naive.iter().map(|x| x.abs() / 1024.0 + 6.2e-5).collect();
    let x = input(device, &x, &[n])?;
    let (words, back) = (device.empty(&[n.div_ceil(2)], DType::U32)?, poisoned(device, &[n])?);
    device.run(&PackHalves { x: &x, words: &words })?;
    device.run(&UnpackHalves { words: &words, x: &back })?;
    Ok(vec![output("x", back, bound).differences_of(LARGEST).naive(|| naive)])
}

/// Numbers that halves hold come out as their bits, whatever the rounding.
fn exact(device: &Device) -> Result<Vec<Output>> {
    let x: Vec<f32> = [1.0, -2.0, 0.5, 65_504.0, 1e9, -1e9, 0.0].into();
    let want: Vec<u32> = vec![0xc000_3c00, 0x7bff_3800, 0xfbff_7bff, 0];
    let (x, words) = (input(device, &x, &[7])?, poisoned_u32(device, &[4])?);
    device.run(&PackHalves { x: &x, words: &words })?;
    assert_eq!(pollster::block_on(device.read_u32(&words))?, want);
    Ok(vec![output("words", words, vec![0.0])])
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![case("pack_halves exact".into(), exact)];
    all.extend(SIZES.map(|n| case(format!("pack_halves and back [{n}]"), move |d| there_and_back(d, n))));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    there_and_back(device, 3).map(drop)
}
