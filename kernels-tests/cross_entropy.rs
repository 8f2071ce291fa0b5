//! Cross-entropy and its gradient, also for logits whose exponentials would overflow.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::cross_entropy::CrossEntropy;
use pollster::block_on;

use crate::harness::{Case, Output, case, guarded, numbers, poisoned};
use crate::layernorm::depth;

const EPS: f64 = f32::EPSILON as f64;

/// Rows, classes: around the lanes of a row (8, 32), the rows at a time (8, 32, 256), and primes.
const SIZES: [[usize; 2]; 9] = [[1, 1], [1, 2], [7, 8], [33, 9], [9, 257], [31, 100], [257, 10], [300, 31], [5, 1031]];

fn entropy(device: &Device, [rows, cols]: [usize; 2], spread: f32, shift: f32) -> Result<Vec<Output>> {
    let logits: Vec<_> = numbers(1, rows * cols).iter().map(|x| spread * x + shift).collect();
    let labels: Vec<_> = (0..rows).map(|b| (b * 7 % cols) as u32).collect();
    let (mut loss_error, mut loss_size, mut bound) = (0.0, 0.0, Vec::new());
    for (row, label) in logits.chunks_exact(cols).zip(&labels) {
        let largest = row.iter().fold(row[0], |a, b| a.max(*b));
        let z: Vec<_> = row.iter().map(|x| f64::from(*x) - f64::from(largest)).collect();
        let sum: f64 = z.iter().map(|z| z.exp()).sum();
        // exp: its rounded argument, and 3 + 2 |z| units on a GPU.
        let term = |z: &f64| EPS * (3.0 + 3.0 * z.abs());
        let sum_error = z.iter().map(|z| z.exp() * term(z)).sum::<f64>() / sum + EPS * depth(cols) / 2.0;
        // log: 2^-21 near 1, three units elsewhere.
        let (log, z_label) = (sum.ln(), z[*label as usize]);
        let size = log + z_label.abs();
        loss_error += sum_error + 4.0 * EPS + 3.0 * EPS * log + EPS * size;
        loss_size += size;
        for (j, z) in z.iter().enumerate() {
            let p = z.exp() / sum;
            let onehot = f64::from(u8::from(j == *label as usize));
            // Quotient: three units; the difference and the product round once more, the share has an error itself.
            let error = p * (sum_error + term(z) + 3.0 * EPS) + 4.0 * EPS * (p - onehot).abs() + EPS * onehot;
            bound.push(error / rows as f64 + f64::from(f32::MIN_POSITIVE));
        }
    }
    let loss_bound = (loss_error + EPS * (rows as f64 / 2.0 + 4.0) * loss_size) / rows as f64;
    let dlogits = poisoned(device, &[rows, cols])?;
    let loss = guarded(device, &numbers(2, 3), &[3])?;
    let (logits, labels) = (device.upload(&logits, &[rows, cols])?, device.upload_u32(&labels, &[rows])?);
    device.run(&CrossEntropy { logits: &logits, labels: &labels, loss: &loss, slot: 1, dlogits: &dlogits })?;
    let exact = f64::MIN_POSITIVE;
    Ok(vec![
        Output { name: "loss", tensor: loss, bound: vec![exact, loss_bound, exact] },
        Output { name: "dlogits", tensor: dlogits, bound },
    ])
}

/// Labels that are no class: their rows add nothing, and the others are as they are alone, but for the number of rows.
fn strangers(device: &Device, cols: usize) -> Result<Vec<Output>> {
    let labels = [cols as u32, 0, u32::MAX, cols as u32 - 1, cols as u32 + 1];
    let rows = labels.len();
    let run = |logits: &[f32], labels: &[u32]| {
        let shape = [labels.len(), cols];
        let (dlogits, loss) = (poisoned(device, &shape)?, poisoned(device, &[1])?);
        let (logits, labels) = (device.upload(logits, &shape)?, device.upload_u32(labels, &shape[..1])?);
        device.run(&CrossEntropy { logits: &logits, labels: &labels, loss: &loss, slot: 0, dlogits: &dlogits })?;
        Ok::<_, minoise::Error>((
            block_on(device.read::<f64>(&dlogits))?,
            block_on(device.read::<f64>(&loss))?[0],
            dlogits,
            loss,
        ))
    };
    let logits = numbers(1, rows * cols);
    let (gradient, sum, dlogits, loss) = run(&logits, &labels)?;
    let mut alone = 0.0;
    for (r, (row, &label)) in logits.chunks_exact(cols).zip(&labels).enumerate() {
        let got = &gradient[r * cols..][..cols];
        if label as usize >= cols {
            assert!(got.iter().all(|d| *d == 0.0), "row {r} has label {label}: {got:?}");
        } else {
            let (want, loss, ..) = run(row, &[label])?;
            alone += loss;
            for (got, want) in got.iter().zip(&want) {
                assert!((got * rows as f64 - want).abs() <= 4.0 * EPS, "row {r}: {got}, alone {want}");
            }
        }
    }
    assert!((sum * rows as f64 - alone).abs() <= 8.0 * EPS * alone, "{sum} of {rows} rows, alone {alone}");
    let bound = |size: f64| vec![16.0 * EPS * size];
    Ok(vec![
        Output { name: "loss", tensor: loss, bound: bound((cols as f64).ln() + 2.0) },
        Output { name: "dlogits", tensor: dlogits, bound: bound(1.0) },
    ])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for cols in [2, 10, 300] {
        all.push(case(format!("cross_entropy {cols} classes, labels beyond"), move |d| strangers(d, cols)));
    }
    for size in SIZES {
        all.push(case(format!("cross_entropy {size:?}"), move |d| entropy(d, size, 3.0, 0.0)));
        all.push(case(format!("cross_entropy {size:?} around 500"), move |d| entropy(d, size, 40.0, 500.0)));
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    entropy(device, [3, 10], 1.0, 0.0)?;
    entropy(device, [3, 1031], 1.0, 0.0).map(drop)
}
