//! The factor that clips gradients: where it clips, where it does not, where the norm is as small as what is added to it.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::clip_factor::{ClipFactor, EPS as ADDED};

use crate::harness::{Case, Output, case, input, numbers, output, poisoned};
use crate::square_sum::chain;

const EPS: f64 = f32::EPSILON as f64;

/// Around the lanes of a workgroup, a prime, nothing.
const SIZES: [usize; 7] = [0, 1, 2, 255, 256, 257, 10_007];

/// Partial sums of this size, the largest norm left as it is.
const SCALES: [[f32; 2]; 4] = [[1.0, 0.25], [1.0, 1e3], [1e-14, 1e-7], [0.0, 2.0]];

fn factor(device: &Device, n: usize, [size, most]: [f32; 2]) -> Result<Vec<Output>> {
    // One behind the last that counts.
    let mut partials: Vec<_> = numbers(1, n).iter().map(|x| size * x * x).collect();
    let most = f64::from(most);
    let norm = partials.iter().map(|x| f64::from(*x)).sum::<f64>().sqrt();
    let naive = f64::min(1.0, most / (norm + ADDED));
    partials.push(f32::NAN);
    // The root halves the relative error of the sum and adds three units of its own.
    let relative = EPS * (chain(n) / 4.0 + 3.0);
    // Both constants round, so do their sum and, by three units, the quotient.
    let bounds = vec![naive * (relative + 5.0 * EPS), norm * relative + f64::MIN_POSITIVE];
    let partials = input(device, &partials, &[n + 1])?;
    let clip = poisoned(device, &[2])?;
    device.run(&ClipFactor { partials: &partials, n, most, clip: &clip })?;
    Ok(vec![output("clip", clip, bounds).naive(move || vec![naive, norm])])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for n in SIZES {
        for scale @ [size, most] in SCALES {
            let name = format!("clip_factor of {n}, size {size:e}, at most {most:e}");
            all.push(case(name, move |d| factor(d, n, scale)));
        }
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    factor(device, 257, SCALES[0]).map(drop)
}
