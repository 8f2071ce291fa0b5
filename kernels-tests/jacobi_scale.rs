//! Scaled diagonals: sizes far apart, exact powers of two, entries that are not positive.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::jacobi_scale::JacobiScale;

use crate::harness::{Case, Output, case, guarded, input, numbers, output};

fn scales(device: &Device, n: usize, m: usize, offset: usize, gamma: f64) -> Result<Vec<Output>> {
    let mut tile = numbers(1, 2 * n * n);
    for i in 0..n {
        let size = f32::powi(2.0, (i * 7 % 41) as i32 - 20);
        let entry = [1.0, 1.5, 0.75, 2.0, 1.999][i % 5] * size;
        tile[i * n + i] = if i % 11 == 3 { -entry - gamma as f32 } else { entry };
        tile[n * n + i * n + i] = entry * 1e-8;
    }
    let tile = input(device, &tile, &[2, n, n])?;
    let scale = guarded(device, &numbers(2, m), &[m])?;
    let diagonal = guarded(device, &numbers(3, 2 * m), &[2, m])?;
    let kernel = JacobiScale { tile: &tile, gamma, offset, scale: &scale, diagonal: &diagonal };
    device.run(&kernel.checked()?)?;
    // First parts are rounded at 2^-24 of 2, of which the second parts make up; entries that are not positive stay large.
    let bound = vec![f64::from(gamma as f32 + 2.0) * 2e-7 + 0.2];
    Ok(vec![output("scale", scale, vec![1e-300]), output("diagonal", diagonal, bound)])
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
    scales(device, 64, 200, 64, 0.1).map(drop)
}
