//! Bytes to normalised pixels: exact, also where planes and images begin within a word.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::normalise::Normalise;

use crate::harness::{Case, Output, case, input, input_u32, numbers, output, poisoned, wide};

/// Images, channels, rows, columns. The last one needs more than 65,535 workgroups of 256 threads.
const SIZES: [[usize; 4]; 8] = [
    [1, 1, 1, 1],
    [2, 3, 1, 1],
    [3, 3, 5, 7],
    [5, 1, 3, 3],
    [2, 3, 16, 16],
    [1, 3, 131, 17],
    [0, 3, 4, 4],
    [1, 1, 4097, 4096],
];

fn looked_up(device: &Device, [b, c, h, w]: [usize; 4]) -> Result<Vec<Output>> {
    let n = b * c * h * w;
    let bytes: Vec<u8> = (0..n).map(|i| (i * 37 + i / 256 * 11) as u8).collect();
    let table = numbers(1, 256 * c);
    let values = wide(&table);
    let naive: Vec<f64> =
        bytes.iter().enumerate().map(|(i, &x)| values[256 * (i / (h * w) % c) + usize::from(x)]).collect();
    let words: Vec<u32> =
        bytes.chunks(4).map(|word| word.iter().rev().fold(0, |all, &byte| all << 8 | u32::from(byte))).collect();
    let (words, table) = (input_u32(device, &words, &[n.div_ceil(4)])?, input(device, &table, &[c, 256])?);
    let out = poisoned(device, &[b, c, h, w])?;
    device.run(&Normalise { bytes: &words, table: &table, out: &out })?;
    Ok(vec![output("out", out, vec![f64::MIN_POSITIVE; n]).naive(|| naive)])
}

pub fn cases() -> Vec<Case> {
    SIZES.map(|size| case(format!("normalise {size:?}"), move |d| looked_up(d, size))).into()
}

pub fn examples(device: &Device) -> Result<()> {
    looked_up(device, SIZES[2]).map(drop)
}
