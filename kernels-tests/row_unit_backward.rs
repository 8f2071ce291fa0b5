//! Gradient of rows of length one, also of those that a constant divides.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::row_unit::{LEAST, RowUnit};
use minoise::kernels::row_unit_backward::RowUnitBackward;
use pollster::block_on;

use crate::harness::{Case, Output, case, guarded, input, numbers, output, poisoned, rms, wide};
use crate::layernorm::{SIZES, depth};
use crate::row_unit::{data, norm};

const EPS: f64 = f32::EPSILON as f64;

fn gradient(device: &Device, [rows, cols]: [usize; 2], accumulate: bool) -> Result<Vec<Output>> {
    let (dy, before) = (numbers(2, rows * cols), numbers(3, rows * cols));
    let (mut y, mut norms) = (Vec::new(), Vec::new());
    let (mut naive, mut bound, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    for (x, dy) in data([rows, cols]).chunks_exact(cols).zip(dy.chunks_exact(cols)) {
        norms.push(norm(x) as f32);
        let norm = f64::from(norms[norms.len() - 1]);
        let unit: Vec<_> = x.iter().map(|x| (f64::from(*x) / norm) as f32).collect();
        let pairs: Vec<_> = unit.iter().zip(dy).map(|(y, dy)| (f64::from(*y), f64::from(*dy))).collect();
        let counts = f64::from(norm > LEAST);
        let along: f64 = pairs.iter().map(|(y, dy)| counts * y * dy).sum();
        let size: f64 = pairs.iter().map(|(y, dy)| counts * (y * dy).abs()).sum();
        naive.extend(pairs.iter().map(|(y, dy)| (dy - y * along) / norm));
        sizes.extend(pairs.iter().map(|(_, dy)| dy / norm));
        // An absolute sum of this depth with the roundings of its terms; then a product, a difference, a quotient (three
        // units) and another product.
        let d = depth(cols) / 2.0;
        bound.extend(pairs.iter().map(|(y, dy)| EPS / norm * (5.0 * dy.abs() + (d + 6.0) * y.abs() * size)));
        y.extend(unit);
    }
    let dx = if accumulate { guarded(device, &before, &[rows, cols])? } else { poisoned(device, &[rows, cols])? };
    if accumulate {
        bound.iter_mut().zip(&before).for_each(|(b, x)| *b = 1.5 * *b + EPS * f64::from(x.abs()));
        naive.iter_mut().zip(&before).for_each(|(x, before)| *x += f64::from(*before));
    }
    let (y, norms) = (input(device, &y, &[rows, cols])?, input(device, &norms, &[rows])?);
    let dy = input(device, &dy, &[rows, cols])?;
    device.run(&RowUnitBackward { y: &y, norms: &norms, dy: &dy, dx: &dx, accumulate })?;
    let output = output("dx", dx, bound).naive(|| naive);
    // Rows of one element have no gradient.
    Ok(vec![if cols == 1 { output.differences_of(rms(&sizes)) } else { output }])
}

/// Element i of a row moves the loss `<dy, y>` by dx_i: central differences in f64, of an ordinary row, of one shorter than
/// the least norm and of zeros.
fn differences(device: &Device) -> Result<Vec<Output>> {
    if device.is_double() {
        let cols = 7;
        let (x, dy) = (wide(&numbers(1, cols)), wide(&numbers(2, cols)));
        for size in [1.0f64, 1e-14, 0.0] {
            let x: Vec<_> = x.iter().map(|x| size * x).collect();
            let [y, norms] = [device.reals(&[1, cols])?, device.reals(&[1])?];
            let forward = |x: &[f64]| -> Result<()> {
                device.run(&RowUnit { x: &device.upload(x, &[1, cols])?, y: &y, norms: Some(&norms) })
            };
            let loss = |x: &[f64]| -> Result<f64> {
                forward(x)?;
                let y: Vec<f64> = block_on(device.read(&y))?;
                Ok(y.iter().zip(&dy).map(|(y, dy)| y * dy).sum())
            };
            forward(&x)?;
            let dx = device.reals(&[1, cols])?;
            let dy = &device.upload(&dy, &[1, cols])?;
            device.run(&RowUnitBackward { y: &y, norms: &norms, dy, dx: &dx, accumulate: false })?;
            let got: Vec<f64> = block_on(device.read(&dx))?;
            let step = 1e-5 * f64::max(size, 1e-14);
            for (i, got) in got.into_iter().enumerate() {
                let moved = |by: f64| (0..cols).map(|j| x[j] + if i == j { by } else { 0.0 }).collect::<Vec<_>>();
                let want = (loss(&moved(step))? - loss(&moved(-step))?) / (2.0 * step);
                let error = (got - want).abs() * f64::max(size, LEAST);
                assert!(error < 1e-8, "{size:e}: dx[{i}]: {got:e} for {want:e}");
            }
        }
    }
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![case("row_unit_backward differences".into(), differences)];
    for size in SIZES.into_iter().chain([[5, 96], [0, 5]]) {
        all.push(case(format!("row_unit_backward {size:?}"), move |d| gradient(d, size, false)));
        all.push(case(format!("row_unit_backward {size:?} accumulated"), move |d| gradient(d, size, true)));
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    gradient(device, [3, 7], false)?;
    gradient(device, [3, 1031], true).map(drop)
}
