//! Rotations of queries and keys.

use minoise::device::Device;
use minoise::kernels::rotary::Rotary;
use minoise::{Error, Result};

use crate::harness::{Case, Output, case, guarded, input, numbers, output, wide};

/// Batch, tokens, prefix, heads, columns of a head.
const SIZES: [[usize; 5]; 7] = [
    [1, 1, 0, 1, 2],
    [2, 9, 5, 3, 16],
    [3, 17, 1, 2, 64],
    [2, 3, 3, 2, 8],
    [1, 257, 5, 1, 6],
    [5, 20, 4, 3, 20],
    [0, 7, 2, 2, 4],
];

fn turned(device: &Device, [batch, tokens, prefix, heads, dim]: [usize; 5], inverse: bool) -> Result<Vec<Output>> {
    let (width, patches, span) = (heads * dim, tokens - prefix, dim / 2);
    let data = numbers(1, batch * tokens * 3 * width);
    // No cosines and sines: every number of the table must be read from its own place.
    let table = numbers(2, patches * dim);
    let x = wide(&data);
    // Where nothing turns, no bit may change.
    let (mut naive, mut bound) = (x.clone(), vec![f64::MIN_POSITIVE; x.len()]);
    for row in (0..batch * tokens).filter(|row| row % tokens >= prefix) {
        let angles = &table[(row % tokens - prefix) * dim..][..dim];
        for i in (0..2 * width).filter(|i| i % dim < span) {
            let (at, pair) = (row * 3 * width + i, i % dim);
            let (a, b, c, s) = (x[at], x[at + span], f64::from(angles[pair]), f64::from(angles[span + pair]));
            let s = if inverse { -s } else { s };
            (naive[at], naive[at + span]) = (a * c - b * s, b * c + a * s);
            // Two products and their sum.
            let eps = f64::from(f32::EPSILON);
            bound[at] = eps * ((a * c).abs() + (b * s).abs());
            bound[at + span] = eps * ((b * c).abs() + (a * s).abs());
        }
    }
    let table = input(device, &table, &[patches, dim])?;
    let x = guarded(device, &data, &[batch * tokens, 3 * width])?;
    device.run(&Rotary { x: &x, table: &table, batch, tokens, heads, inverse })?;
    Ok(vec![output("x", x, bound).naive(|| naive)])
}

fn refuses(device: &Device) -> Result<Vec<Output>> {
    let (x, table) = (device.reals(&[8, 18])?, device.reals(&[3, 2])?);
    let odd = Rotary { x: &x, table: &table, batch: 2, tokens: 4, heads: 2, inverse: false };
    assert!(matches!(device.run(&odd), Err(Error::Unsupported(_))), "heads of three columns");
    let narrow = Rotary { heads: 1, ..odd };
    assert!(matches!(device.run(&narrow), Err(Error::Shape { arg: "table", .. })));
    let many = Rotary { tokens: 2, batch: 4, heads: 3, ..odd };
    assert!(matches!(device.run(&many), Err(Error::Shape { arg: "table", .. })), "more rows than tokens");
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![case("rotary refuses heads and tables that do not fit".into(), refuses)];
    for size in SIZES {
        for inverse in [false, true] {
            let name = format!("rotary {size:?}{}", if inverse { ", inverse" } else { "" });
            all.push(case(name, move |d| turned(d, size, inverse)));
        }
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    turned(device, SIZES[1], false)?;
    turned(device, SIZES[1], true).map(drop)
}
