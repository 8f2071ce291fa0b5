//! Matrix products: plain ones, and with the epilogue of an MLP's first layer (bias and GELU, the value before it kept).

use super::{Random, Work};
use crate::Result;
use crate::device::{Device, Tensor};
use crate::kernels::gemm::{Activation, Gemm, Layout, Mat};

/// What a product of m rows, n columns and sums of k terms needs.
pub fn work([m, k, n]: [usize; 3], epilogue: bool) -> Work {
    let results = if epilogue { 2 * m * n + n } else { m * n };
    Work { flops: 2.0 * (m * k * n) as f64, bytes: 4.0 * (m * k + k * n + results) as f64, images: 0 }
}

/// Passes of one product.
///
/// # Errors
/// Device errors.
pub fn product(
    device: &Device,
    [m, k, n]: [usize; 3],
    layout: Layout,
    epilogue: bool,
) -> Result<impl FnMut(&Device) -> Result<Vec<Tensor>> + use<>> {
    let mut random = Random::new();
    let a = random.tensor(device, &if layout == Layout::TN { [k, m] } else { [m, k] }, 1.0)?;
    let b = random.tensor(device, &if layout == Layout::NT { [n, k] } else { [k, n] }, (k as f32).sqrt().recip())?;
    let bias = random.tensor(device, &[n], 1.0)?;
    let (out, pre) = (device.reals(&[m, n])?, device.reals(&[m, n])?);
    Ok(move |device: &Device| {
        let plain = Gemm::new(layout, &a, &b, &out)?;
        if !epilogue {
            device.run(&plain)?;
            return Ok(vec![out.clone()]);
        }
        let (bias, pre_out) = (Some(Mat::of(&bias)), Some(&pre));
        device.run(&Gemm { bias, pre: pre_out, activation: Activation::Gelu, ..plain })?;
        Ok(vec![out.clone(), pre.clone()])
    })
}
