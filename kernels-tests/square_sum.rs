//! Sums of squares by blocks, into a part of the sums; the rest must stay.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::square_sum::{BLOCK, SquareSum, partials};

use crate::harness::{
    Case, FEW_GROUPS, OWN_AND_GPU, Output, Plans, case, guarded, input, numbers, output, run_as, wide,
};

const EPS: f64 = f32::EPSILON as f64;

/// Around the lanes of a workgroup and the block, an odd number of blocks, a prime, nothing.
const SIZES: [usize; 10] = [0, 1, 255, 256, 257, 10_007, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK - 7];

/// Longest chain of additions in a sum of n: no implementation keeps fewer than sixteen partial sums.
pub fn chain(n: usize) -> f64 {
    n.min(n / 16 + 16) as f64
}

fn sums(device: &Device, n: usize, slot: usize, plans: Plans) -> Result<Vec<Output>> {
    let x = numbers(1, n);
    let before = numbers(2, slot + partials(n) + 2);
    let (mut naive, mut bound) = (wide(&before), vec![f64::MIN_POSITIVE; before.len()]);
    for (k, block) in x.chunks(BLOCK).enumerate() {
        let sum: f64 = block.iter().map(|x| f64::from(*x).powi(2)).sum();
        naive[slot + k] = sum;
        // Every square rounds once.
        bound[slot + k] = EPS / 2.0 * (chain(block.len()) + 1.0) * sum;
    }
    let x = input(device, &x, &[n])?;
    let out = guarded(device, &before, &[before.len()])?;
    run_as(device, SquareSum { x: &x, partials: &out, slot }, &plans.1(device))?;
    Ok(vec![output("partials", out, bound).naive(|| naive)])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for n in SIZES {
        for slot in [0, 3] {
            all.push(case(format!("square_sum {n} at {slot}"), move |d| sums(d, n, slot, OWN_AND_GPU[0])));
        }
    }
    // 22 groups where 20 are allowed.
    let (n, plans) = (21 * BLOCK + 5, FEW_GROUPS[0]);
    all.push(case(format!("square_sum {n}{}", plans.0), move |d| sums(d, n, 0, plans)));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    sums(device, BLOCK + 1, 3, OWN_AND_GPU[0]).map(drop)
}
