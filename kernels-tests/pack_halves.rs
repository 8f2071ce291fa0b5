//! Reals to halves and back: what comes back is near, beyond the ends of halves as well.

use half::f16;
use minoise::Result;
use minoise::device::Device;
use minoise::kernels::pack_halves::PackHalves;
use minoise::kernels::unpack_halves::UnpackHalves;

use crate::harness::{
    Case, FEW_GROUPS, INT_CANARY, OWN_AND_GPU, Output, Plans, case, input, numbers, output, poisoned, poisoned_u32,
    run_as, wide,
};

/// Around a group of 256 words; the last one more than 20 groups.
const SIZES: [usize; 7] = [1, 2, 3, 511, 512, 4_099, 20_001];
const LARGEST: f64 = 65_504.0;

/// Numbers of all sizes: most around 1, some as small and as large as halves go and beyond.
fn values(n: usize) -> Vec<f32> {
    let scale = [1.0, 1e-3, 300.0, 1e-5, 6e4, 1e-9, 1e6];
    numbers(1, n).iter().enumerate().map(|(i, x)| x * scale[i % scale.len()]).collect()
}

fn there_and_back(device: &Device, n: usize, plans: Plans) -> Result<Vec<Output>> {
    let x = values(n);
    let nearest = |x: f64| f16::from_f64(x.clamp(-LARGEST, LARGEST)).to_f64();
    let naive: Vec<f64> = wide(&x).into_iter().map(nearest).collect();
    // A device may round to the other neighbour, and may take what is below the normal halves for zero.
    let bound = naive.iter().map(|x| x.abs() / 1024.0 + 6.2e-5).collect();
    let (x, words) = (input(device, &x, &[n])?, poisoned_u32(device, &[n.div_ceil(2)])?);
    let back = poisoned(device, &[n])?;
    run_as(device, PackHalves { x: &x, words: &words }, &plans.1(device))?;
    run_as(device, UnpackHalves { words: &words, x: &back }, &plans.1(device))?;
    let end = pollster::block_on(device.read_u32(&words.extended(n.div_ceil(2) + 1)))?;
    assert_eq!(end.last(), Some(&INT_CANARY), "a word behind the end was written");
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
    for n in SIZES {
        for plans in [OWN_AND_GPU[0], FEW_GROUPS[1]] {
            let name = format!("pack_halves and back [{n}]{}", plans.0);
            all.push(case(name, move |d| there_and_back(d, n, plans)));
        }
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    let (x, words) = (input(device, &values(3), &[3])?, poisoned_u32(device, &[2])?);
    device.run(&PackHalves { x: &x, words: &words })
}
