//! Random features of the features of a frozen backbone.

use crate::Result;
use crate::device::{Device, Tensor};
use crate::kernels::gemm::{Activation, Gemm, Layout};
use crate::kernels::tanh::Tanh;

fn projected(device: &Device, f: &Tensor, random: &Tensor, activation: Activation) -> Result<Tensor> {
    let z = device.reals(&[f.rows(), random.cols()])?;
    device.run(&Gemm { activation, ..Gemm::new(Layout::NN, f, random, &z)? })?;
    Ok(z)
}

/// `relu(f R)` [B, m] of features f [B, d], for R [d, m].
///
/// # Errors
/// [`crate::Error::Shape`], device errors.
pub fn rectified(device: &Device, f: &Tensor, random: &Tensor) -> Result<Tensor> {
    projected(device, f, random, Activation::Relu)
}

/// `tanh(f R)` [B, m] of features f [B, d], for R [d, m].
///
/// # Errors
/// [`crate::Error::Shape`], device errors.
pub fn saturated(device: &Device, f: &Tensor, random: &Tensor) -> Result<Tensor> {
    let z = projected(device, f, random, Activation::None)?;
    let g = device.reals(z.shape())?;
    device.run(&Tanh { x: &z, y: &g })?;
    Ok(g)
}
