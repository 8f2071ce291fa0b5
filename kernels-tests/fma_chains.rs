//! Chains of fused multiply-adds against the f64 twin, and that against the closed form.

use minoise::Result;
use minoise::device::{Device, Precision};
use minoise::kernels::fma_chains::FmaChains;
use pollster::block_on;

use crate::harness::{Case, Output, case, numbers, output, poisoned, random};

/// Elements and rounds: around the workgroup of 256 threads and the 48 lanes of the twin, none and many rounds.
const SIZES: [[usize; 2]; 7] = [[4, 1], [44, 3], [52, 0], [1020, 2], [1024, 7], [1028, 1], [40_028, 33]];
const FACTOR: f32 = -0.996;
const TERM: f32 = 1.3;

fn chains(device: &Device, [n, rounds]: [usize; 2]) -> Result<Vec<Output>> {
    let (x, y) = (random(device, 1, &[n])?, poisoned(device, &[n])?);
    device.run(&FmaChains { x: &x, y: &y, rounds, factor: FACTOR, term: TERM })?;
    // Two chains, a product and a sum a step where the device does not fuse them, values below 4.
    let steps = (rounds * FmaChains::ROUND) as f64;
    let bound = 2.0 * (2.0 * steps + 2.0) * 4.0 * f64::from(f32::EPSILON) / 2.0;
    Ok(vec![output("y", y, vec![bound])])
}

/// What the doc comment states.
fn closed_form(_: &Device) -> Result<Vec<Output>> {
    let (n, rounds) = (44, 3);
    let oracle = Device::cpu(Precision::F64);
    let y: Vec<f64> = block_on(oracle.read(&chains(&oracle, [n, rounds])?[0].tensor))?;
    let (factor, term) = (f64::from(FACTOR), f64::from(TERM));
    let (fixed, power) = (term / (1.0 - factor), factor.powi((rounds * FmaChains::ROUND) as i32));
    for (x, y) in numbers(1, n).into_iter().zip(y) {
        let want = 2.0 * fixed + (2.0 * f64::from(x) + 1.0 - 2.0 * fixed) * power;
        assert!((y - want).abs() < 1e-12, "{y} for {want}");
    }
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let name = |[n, rounds]: [usize; 2]| format!("fma_chains {n}, {rounds} rounds");
    let mut cases: Vec<_> = SIZES.iter().map(|&s| case(name(s), move |d| chains(d, s))).collect();
    cases.push(case("fma_chains has a closed form".into(), closed_form));
    cases
}

pub fn examples(device: &Device) -> Result<()> {
    chains(device, [1028, 2]).map(drop)
}
