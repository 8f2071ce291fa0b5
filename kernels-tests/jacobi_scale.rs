//! Scaled diagonals: sizes far apart, exact powers of two, entries that are not positive.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::jacobi_scale::JacobiScale;
use pollster::block_on;

use crate::harness::{Case, Output, canaries, case, guarded, input, numbers, output, wide};

fn scales(device: &Device, n: usize, m: usize, offset: usize, gamma: f64) -> Result<Vec<Output>> {
    let mut tile = numbers(1, 2 * n * n);
    for i in 0..n {
        let size = f32::powi(2.0, (i * 7 % 41) as i32 - 20);
        let entry = [1.0, 1.5, 0.75, 2.0, 1.999][i % 5] * size;
        tile[i * n + i] = if i % 11 == 3 { -entry - gamma as f32 } else { entry };
        tile[n * n + i * n + i] = entry * 1e-8;
    }
    let before = [numbers(2, m), numbers(3, 2 * m)];
    let g = input(device, &tile, &[2, n, n])?;
    let (scale, diagonal) = (guarded(device, &before[0], &[m])?, guarded(device, &before[1], &[2, m])?);
    device.run(&JacobiScale { tile: &g, gamma, offset, scale: &scale, diagonal: &diagonal })?;
    let mut scales = wide(&before[0]);
    let totals: Vec<f64> = block_on(device.read(&diagonal))?;
    let mut totals: Vec<f64> = (0..m).map(|i| totals[i] + totals[m + i]).collect();
    // What stands beside the tile's entries must stay.
    for (i, total) in totals.iter_mut().enumerate() {
        if !(offset..offset + n).contains(&i) {
            assert!(*total == f64::from(before[1][i]) + f64::from(before[1][m + i]), "diagonal[{i}]");
            *total = 0.0;
        }
    }
    for i in 0..n {
        let sum = f64::from(tile[i * n + i]) + f64::from(tile[n * n + i * n + i]) + gamma;
        // Halves of the exponent, rounded down: sum 4^-k in [1/2, 2); entries that are not positive stay as they are.
        let k = if sum > 0.0 { ((sum.log2().floor() + 1.0) / 2.0).floor() as i32 } else { 0 };
        scales[offset + i] = f64::powi(2.0, -k);
        // Relative to the entry, for which gamma may cancel.
        let size = f64::from(tile[i * n + i].abs()) + gamma;
        totals[offset + i] = (totals[offset + i] - sum * f64::powi(4.0, -k)) / (size * f64::powi(4.0, -k));
    }
    // A sum of pairs loses 2^-46 (Dekker), gamma as a pair 2^-49.
    let bound = vec![1.25 * f64::powi(2.0, -46)];
    Ok(vec![
        output("scale", scale, vec![f64::MIN_POSITIVE]).naive(|| scales),
        output("error of diagonal", device.upload(&totals, &[m])?, bound).differences_of(1.0),
        canaries("diagonal", diagonal),
    ])
}

pub fn cases() -> Vec<Case> {
    let sizes = [(1, 1, 0), (64, 200, 64), (257, 257, 0), (33, 300, 267)];
    sizes
        .into_iter()
        .flat_map(|s| [(s, 0.0), (s, 0.1)])
        .map(|((n, m, offset), gamma)| {
            let name = format!("jacobi_scale {n} of {m} from {offset}, gamma {gamma}");
            case(name, move |d| scales(d, n, m, offset, gamma))
        })
        .collect()
}

pub fn examples(device: &Device) -> Result<()> {
    let (tile, scale) = (&device.reals(&[2, 64, 64])?, &device.reals(&[200])?);
    device.run(&JacobiScale { tile, gamma: 0.1, offset: 64, scale, diagonal: &device.reals(&[2, 200])? })
}
