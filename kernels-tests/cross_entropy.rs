//! Cross-entropy and its gradient, also for logits whose exponentials would overflow.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::cross_entropy::CrossEntropy;

use crate::harness::{Case, Output, case, guarded, input, input_u32, numbers, output, poisoned, wide};
use crate::layernorm::depth;

const EPS: f64 = f32::EPSILON as f64;

/// Rows, classes: around the lanes of a row (8, 32), the rows at a time (8, 32, 256), and primes.
const SIZES: [[usize; 2]; 9] = [[1, 1], [1, 2], [7, 8], [33, 9], [9, 257], [31, 100], [257, 10], [300, 31], [5, 1031]];

/// All images of a batch, or half of them, whose loss is added to that of the others.
fn entropy(device: &Device, [rows, cols]: [usize; 2], spread: f32, shift: f32, part: bool) -> Result<Vec<Output>> {
    let batch = if part { 2 * rows } else { rows };
    let logits: Vec<_> = numbers(1, rows * cols).iter().map(|x| spread * x + shift).collect();
    let labels: Vec<_> = (0..rows).map(|b| (b * 7 % cols) as u32).collect();
    let (mut loss_error, mut loss_size, mut bound) = (0.0, 0.0, Vec::new());
    let (mut losses, mut naive) = (0.0, Vec::new());
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
        losses += log - z_label;
        for (j, z) in z.iter().enumerate() {
            let p = z.exp() / sum;
            let onehot = f64::from(u8::from(j == *label as usize));
            naive.push((p - onehot) / batch as f64);
            // Quotient: three units; the difference and the product round once more, the share has an error itself.
            let error = p * (sum_error + term(z) + 3.0 * EPS) + 4.0 * EPS * (p - onehot).abs() + EPS * onehot;
            bound.push(error / batch as f64 + f64::from(f32::MIN_POSITIVE));
        }
    }
    let earlier = if part { f64::from(numbers(2, 3)[1]) } else { 0.0 };
    let mean = losses / batch as f64;
    let loss_bound = (loss_error + EPS * (rows as f64 / 2.0 + 4.0) * loss_size) / batch as f64
        + EPS * (earlier.abs() + (earlier + mean).abs());
    let dlogits = poisoned(device, &[rows, cols])?;
    let before = wide(&numbers(2, 3));
    let loss = guarded(device, &numbers(2, 3), &[3])?;
    let (logits, labels) = (input(device, &logits, &[rows, cols])?, input_u32(device, &labels, &[rows])?);
    device.run(&CrossEntropy {
        logits: &logits,
        labels: &labels,
        loss: &loss,
        slot: 1,
        batch,
        accumulate: part,
        dlogits: &dlogits,
    })?;
    let exact = f64::MIN_POSITIVE;
    Ok(vec![
        output("loss", loss, vec![exact, loss_bound, exact]).naive(move || vec![before[0], earlier + mean, before[2]]),
        output("dlogits", dlogits, bound).differences_of(1.0 / batch as f64).naive(|| naive),
    ])
}

/// Labels that are no class: their rows add nothing and have no gradient, but count.
fn strangers(device: &Device, cols: usize) -> Result<Vec<Output>> {
    let labels = [cols as u32, 0, u32::MAX, cols as u32 - 1, cols as u32 + 1];
    let rows = labels.len();
    let logits = numbers(1, rows * cols);
    let (mut total, mut gradient) = (0.0, vec![0.0; rows * cols]);
    for r in (0..rows).filter(|&r| (labels[r] as usize) < cols) {
        let exps: Vec<_> = logits[r * cols..][..cols].iter().map(|x| f64::from(*x).exp()).collect();
        let sum: f64 = exps.iter().sum();
        let label = labels[r] as usize;
        total += (sum / exps[label]).ln();
        for (j, exp) in exps.iter().enumerate() {
            gradient[r * cols + j] = (exp / sum - f64::from(u8::from(j == label))) / rows as f64;
        }
    }
    let (dlogits, loss) = (poisoned(device, &[rows, cols])?, poisoned(device, &[1])?);
    let (logits, labels) = (input(device, &logits, &[rows, cols])?, input_u32(device, &labels, &[rows])?);
    device.run(&CrossEntropy {
        logits: &logits,
        labels: &labels,
        loss: &loss,
        slot: 0,
        batch: rows,
        accumulate: false,
        dlogits: &dlogits,
    })?;
    let bound = |size: f64| vec![16.0 * EPS * size];
    Ok(vec![
        output("loss", loss, bound(total)).naive(move || vec![total / rows as f64]),
        output("dlogits", dlogits, bound(1.0 / rows as f64)).naive(|| gradient),
    ])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for cols in [2, 10, 300] {
        all.push(case(format!("cross_entropy {cols} classes, labels beyond"), move |d| strangers(d, cols)));
    }
    for size in SIZES {
        all.push(case(format!("cross_entropy {size:?}"), move |d| entropy(d, size, 3.0, 0.0, false)));
        all.push(case(format!("cross_entropy {size:?}, part of a batch"), move |d| entropy(d, size, 3.0, 0.0, true)));
        all.push(case(format!("cross_entropy {size:?} around 500"), move |d| entropy(d, size, 40.0, 500.0, false)));
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    entropy(device, [3, 10], 1.0, 0.0, false)?;
    entropy(device, [3, 1031], 1.0, 0.0, false).map(drop)
}
