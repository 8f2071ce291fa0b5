//! Patches as rows: exact, with and without tokens in front, images that are not square.

use minoise::device::Device;
use minoise::kernels::unfold::Unfold;
use minoise::{Error, Result};

use crate::harness::{Case, Output, case, input, numbers, output, poisoned, wide};

/// Batch, channels, patch rows, patch columns, patch size.
const SIZES: [[usize; 5]; 6] =
    [[1, 1, 1, 1, 1], [2, 3, 2, 4, 2], [3, 3, 3, 3, 4], [2, 1, 1, 7, 3], [5, 2, 5, 3, 5], [0, 3, 2, 2, 4]];

/// More than 65,535 workgroups of 256 threads.
const LARGE: [usize; 5] = [2, 1, 183, 92, 23];

fn rows(device: &Device, [b, c, ph, pw, p]: [usize; 5], front: usize) -> Result<Vec<Output>> {
    let (h, w, depth, patches) = (ph * p, pw * p, c * p * p, ph * pw);
    let data = numbers(1, b * c * h * w);
    let images = input(device, &data, &[b, c, h, w])?;
    let out = poisoned(device, &[b, front + patches, depth])?;
    device.run(&Unfold { images: &images, out: &out, front, patch: p })?;
    // Every pixel goes to its place.
    let naive = move || {
        let (data, mut rows) = (wide(&data), vec![0.0; b * (front + patches) * depth]);
        for (at, x) in data.into_iter().enumerate() {
            let (image, channel, row, col) = (at / (c * h * w), at / (h * w) % c, at / w % h, at % w);
            let token = front + row / p * pw + col / p;
            let element = (channel * p + row % p) * p + col % p;
            rows[(image * (front + patches) + token) * depth + element] = x;
        }
        rows
    };
    Ok(vec![output("out", out, vec![f64::MIN_POSITIVE]).naive(naive)])
}

/// Images of 6 x 10 pixels have no whole patches of 4; the error names them.
fn refuses(device: &Device) -> Result<Vec<Output>> {
    let (images, out) = (device.reals(&[1, 1, 6, 10])?, device.reals(&[1, 15, 4])?);
    let kernel = Unfold { images: &images, out: &out, front: 0, patch: 2 };
    device.run(&kernel)?;
    assert!(matches!(device.run(&Unfold { patch: 4, ..kernel }), Err(Error::Shape { arg: "images", .. })));
    assert!(matches!(device.run(&Unfold { patch: 0, ..kernel }), Err(Error::Shape { arg: "images", .. })));
    assert!(matches!(device.run(&Unfold { front: 1, ..kernel }), Err(Error::Shape { arg: "out", .. })));
    let images = &images.reshape(&[1, 60]);
    assert!(matches!(device.run(&Unfold { images, ..kernel }), Err(Error::Shape { arg: "images", .. })));
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![
        case("unfold refuses images without whole patches".into(), refuses),
        case(format!("unfold {LARGE:?}, 1 in front"), |d| rows(d, LARGE, 1)),
    ];
    for size in SIZES {
        for front in [0, 1, 5] {
            all.push(case(format!("unfold {size:?}, {front} in front"), move |d| rows(d, size, front)));
        }
    }
    all
}

pub fn examples(device: &Device) -> Result<()> {
    rows(device, SIZES[1], 1).map(drop)
}
