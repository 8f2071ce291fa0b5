//! A plain copy is exact and stays inside its output.

use minoise::device::Device;
use minoise::kernels::stream_copy::StreamCopy;
use minoise::{Error, Result};

use crate::harness::{Case, Output, case, output, poisoned, random};

/// Around the workgroup of 256 threads, four elements each. More than 65,535 workgroups exceed the least binding.
const SIZES: [usize; 6] = [4, 12, 1020, 1024, 1028, 40_028];

fn copy(device: &Device, n: usize) -> Result<Vec<Output>> {
    let (x, y) = (random(device, 1, &[n])?, poisoned(device, &[n])?);
    device.run(&StreamCopy { x: &x, y: &y })?;
    Ok(vec![output("y", y, vec![0.0])])
}

fn refuses(device: &Device) -> Result<Vec<Output>> {
    let (x, y) = (device.reals(&[6])?, device.reals(&[8])?);
    assert!(matches!(device.run(&StreamCopy { x: &x, y: &x }), Err(Error::Shape { arg: "x", .. })));
    assert!(matches!(device.run(&StreamCopy { x: &y, y: &x }), Err(Error::Shape { arg: "y", .. })));
    Ok(Vec::new())
}

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<_> = SIZES.iter().map(|&n| case(format!("stream_copy {n}"), move |d| copy(d, n))).collect();
    cases.push(case("stream_copy refuses what does not fit".into(), refuses));
    cases
}

pub fn examples(device: &Device) -> Result<()> {
    copy(device, 1028).map(drop)
}
