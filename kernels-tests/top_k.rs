//! The largest entries of rows; ties go to the lowest index.

use minoise::device::Device;
use minoise::kernels::top_k::TopK;
use minoise::{Error, Result};

use crate::harness::{Case, Output, case, input, numbers, output, poisoned};

/// Rows, columns: around the workgroup of 256, primes, more columns than a workgroup has threads, nothing.
const SIZES: [[usize; 2]; 8] = [[1, 1], [3, 7], [85, 3], [1, 257], [67, 31], [2, 1031], [0, 5], [4, 0]];

/// `levels` different values: few make ties in every row.
fn largest(device: &Device, [rows, cols]: [usize; 2], k: usize, levels: f32) -> Result<Vec<Output>> {
    // Without negative zeros, which are equal to others.
    let x: Vec<_> = numbers(1, rows * cols).iter().map(|x| (x * levels).round() + 0.0).collect();
    let mut naive = vec![0.0; rows * k * cols];
    for row in 0..rows {
        let mut order: Vec<usize> = (0..cols).collect();
        // Stable: of equal entries the first stays in front.
        order.sort_by(|&i, &j| x[row * cols + j].total_cmp(&x[row * cols + i]));
        for (j, i) in order.into_iter().take(k).enumerate() {
            naive[(row * k + j) * cols + i] = 1.0;
        }
    }
    let (x, hot) = (input(device, &x, &[rows, cols])?, poisoned(device, &[rows, k, cols])?);
    device.run(&TopK { x: &x, hot: &hot })?;
    Ok(vec![output("hot", hot, vec![0.0]).naive(|| naive)])
}

/// Results that are not of k rows for each row.
fn refuses(device: &Device) -> Result<Vec<Output>> {
    let x = device.zeros(&[4, 6])?;
    assert!(device.run(&TopK { x: &x, hot: &device.zeros(&[4, 2, 6])? }).is_ok());
    for shape in [&[4, 12][..], &[4, 6, 2], &[2, 4, 6]] {
        let refused = device.run(&TopK { x: &x, hot: &device.zeros(shape)? });
        assert!(matches!(refused, Err(Error::Shape { arg: "hot", .. })), "{shape:?}");
    }
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![case("top_k refuses other shapes".into(), refuses)];
    for size in SIZES {
        for k in [1, 4] {
            all.push(case(format!("top_k {k} of {size:?}"), move |d| largest(d, size, k, 1e6)));
            all.push(case(format!("top_k {k} of {size:?} with ties"), move |d| largest(d, size, k, 1.0)));
        }
    }
    // More than 65,535 workgroups.
    let many = [5_592_407, 3];
    all.push(case(format!("top_k 1 of {many:?}"), move |d| largest(d, many, 1, 1.0)));
    all
}

pub fn examples(device: &Device) -> Result<()> {
    largest(device, [67, 31], 4, 1.0).map(drop)
}
