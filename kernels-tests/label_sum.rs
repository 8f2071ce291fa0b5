//! Sums of rows by label, with labels that never and labels that often occur, and such that are no class.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::label_sum::LabelSum;
use pollster::block_on;

use crate::harness::{Case, Output, canaries, case, guarded, input, input_u32, numbers, output, rms};

/// Rows, classes, columns: around the workgroup of 256, and the column blocks of the twin (1024).
const SIZES: [[usize; 3]; 6] = [[1, 1, 1], [5, 3, 255], [64, 7, 256], [67, 10, 257], [31, 2, 2051], [0, 2, 5]];

/// First and second parts together, as both round differently in f64.
fn sums(device: &Device, [rows, classes, cols]: [usize; 3]) -> Result<Vec<Output>> {
    let (p, q) = (numbers(1, rows * cols), numbers(2, classes * cols));
    let before: Vec<_> = q.iter().copied().chain(q.iter().map(|q| q * 1e-8)).collect();
    // The last of several classes stays empty.
    let mut labels: Vec<_> = (0..rows).map(|b| (b * b % classes.saturating_sub(1).max(1)) as u32).collect();
    let beyond = [classes as u32, u32::MAX, classes as u32 + 1];
    labels.iter_mut().skip(1).step_by(5).zip(beyond.iter().cycle()).for_each(|(label, beyond)| *label = *beyond);
    let mut want: Vec<_> = before[..classes * cols]
        .iter()
        .zip(&before[classes * cols..])
        .map(|(x, y)| f64::from(*x) + f64::from(*y))
        .collect();
    for (i, p) in p.iter().enumerate().filter(|(i, _)| (labels[i / cols] as usize) < classes) {
        want[labels[i / cols] as usize * cols + i % cols] += f64::from(*p);
    }
    let tensors = (input(device, &p, &[rows, cols])?, input_u32(device, &labels, &[rows])?);
    let q = guarded(device, &before, &[2, classes, cols])?;
    device.run(&LabelSum { p: &tensors.0, labels: &tensors.1, q: &q })?;
    let got: Vec<f64> = block_on(device.read(&q))?;
    let (high, low) = got.split_at(classes * cols);
    let errors: Vec<_> = high.iter().zip(low).zip(&want).map(|((x, y), want)| x + y - want).collect();
    // Sums below 2 rows, whose errors below 2^-24 of them are themselves summed in f32.
    let bound = vec![((rows + 2) as f64).powi(2) * f64::powi(2.0, -46)];
    let error = output("error", device.upload(&errors, &[classes, cols])?, bound).differences_of(rms(&want));
    Ok(vec![error, canaries("q", q)])
}

pub fn cases() -> Vec<Case> {
    SIZES.map(|size| case(format!("label_sum {size:?}"), move |d| sums(d, size))).into()
}

pub fn examples(device: &Device) -> Result<()> {
    sums(device, SIZES[1]).map(drop)
}
