//! Patch embedding: columns in fours and single, with and without tokens in front, images that are not square.

use minoise::device::Device;
use minoise::kernels::patch_embed::PatchEmbed;
use minoise::{Error, Result};

use crate::harness::{
    Case, FEW_GROUPS, OWN_AND_GPU, Output, Plans, case, input, numbers, output, poisoned, run_as, wide,
};

/// Batch, channels, patch rows, patch columns, patch size, columns: around 8 patches a lane, 8 and 64 lanes of 1 or 4
/// columns, the 64 patches of a job of the twin.
const SIZES: [[usize; 6]; 8] = [
    [1, 1, 1, 1, 1, 1],
    [2, 3, 2, 4, 2, 32],
    [3, 3, 3, 3, 4, 33],
    [2, 1, 1, 7, 3, 36],
    [1, 3, 5, 13, 2, 260],
    [2, 2, 3, 5, 5, 65],
    [1, 3, 2, 2, 16, 64],
    [5, 3, 2, 3, 7, 4],
];

fn tokens(device: &Device, [b, c, ph, pw, p, d]: [usize; 6], special: usize, plans: Plans) -> Result<Vec<Output>> {
    let (h, w, depth, patches) = (ph * p, pw * p, c * p * p, ph * pw);
    let images = numbers(1, b * c * h * w);
    let weight = numbers(2, depth * d);
    let (prefix, pos) = (numbers(3, special * d), numbers(4, patches * d));
    // The prefix is copied; patches have the rounding of their sums.
    let mut bound = vec![f64::MIN_POSITIVE; b * (special + patches) * d];
    let mut naive = vec![0.0; bound.len()];
    for image in 0..b {
        let token = |t: usize| (image * (special + patches) + t) * d;
        naive[token(0)..][..special * d].copy_from_slice(&wide(&prefix));
        for t in 0..patches {
            let (to, pos) = (token(special + t), &pos[t * d..][..d]);
            naive[to..][..d].copy_from_slice(&wide(pos));
            let mut size: Vec<_> = pos.iter().map(|p| p.abs()).collect();
            for k in 0..depth {
                let (channel, i, j) = (k / (p * p), k / p % p, k % p);
                let pixel = ((image * c + channel) * h + t / pw * p + i) * w + t % pw * p + j;
                let weights = &weight[k * d..][..d];
                for (sum, weight) in naive[to..].iter_mut().zip(weights) {
                    *sum += f64::from(images[pixel]) * f64::from(*weight);
                }
                for (size, weight) in size.iter_mut().zip(weights) {
                    *size += (images[pixel] * weight).abs();
                }
            }
            let rounding = (depth + 1) as f64 * f64::from(f32::EPSILON) / 2.0;
            let sizes = size.iter().map(|s| rounding * f64::from(*s));
            bound[to..][..d].iter_mut().zip(sizes).for_each(|(b, s)| *b = s);
        }
    }
    let (images, weight) = (input(device, &images, &[b, c, h, w])?, input(device, &weight, &[depth, d])?);
    let (prefix, pos) = (input(device, &prefix, &[special, d])?, input(device, &pos, &[patches, d])?);
    let out = poisoned(device, &[b, special + patches, d])?;
    let prefix = (special > 0).then_some(&prefix);
    run_as(
        device,
        PatchEmbed { images: &images, weight: &weight, prefix, pos: &pos, out: &out, patch: p },
        &plans.1(device),
    )?;
    Ok(vec![output("out", out, bound).naive(|| naive)])
}

/// Images of 6 x 10 pixels have no whole patches of 4; the error names them.
fn refuses(device: &Device) -> Result<Vec<Output>> {
    let [images, weight] = [[1, 1, 6, 10], [1, 1, 16, 8]].map(|shape| device.reals(&shape));
    let (images, weight, rest) = (images?, weight?, device.reals(&[8])?);
    let [pos, out] = [&rest; 2];
    let kernel = PatchEmbed { images: &images, weight: &weight, prefix: None, pos, out, patch: 4 };
    assert!(matches!(device.run(&kernel), Err(Error::Shape { arg: "images", .. })));
    let other = PatchEmbed { patch: 2, ..kernel };
    assert!(matches!(device.run(&other), Err(Error::Shape { arg: "weight", .. })));
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![case("patch_embed refuses images without whole patches".into(), refuses)];
    for size in SIZES {
        for special in [0, 1, 5] {
            let name = format!("patch_embed {size:?}, {special} in front");
            all.push(case(name, move |d| tokens(d, size, special, OWN_AND_GPU[0])));
        }
    }
    for plans in FEW_GROUPS {
        // 10 blocks for each of 3 images.
        let size = [3, 1, 5, 13, 2, 260];
        all.push(case(format!("patch_embed {size:?}{}", plans.0), move |d| tokens(d, size, 1, plans)));
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    for size in &SIZES[1..3] {
        tokens(device, *size, 0, OWN_AND_GPU[0])?;
        tokens(device, *size, 4, OWN_AND_GPU[0])?;
    }
    Ok(())
}
