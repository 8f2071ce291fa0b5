//! Activation functions over slices, compiled for the widest vectors of this machine.

use crate::device::Real;
use crate::kernels::gemm::Activation;

/// `gelu(x) = x Phi(x)`, exact form.
#[inline(always)]
pub fn gelu<R: Real>(x: R) -> R {
    x * Real::normal(x).0
}

/// `gelu(x)` and `d gelu / dx = Phi(x) + x phi(x)`.
#[inline(always)]
pub fn gelu_with_slope<R: Real>(x: R) -> (R, R) {
    let (cdf, density) = Real::normal(x);
    (x * cdf, cdf + x * density)
}

/// Applies `activation` to every element.
pub fn activate<R: Real>(activation: Activation, row: &mut [R]) {
    match activation {
        Activation::None => {}
        Activation::Gelu => vectorise!({
            for x in row {
                *x = gelu(*x);
            }
        }),
        Activation::Relu => row.iter_mut().for_each(|x| *x = Real::max(*x, R::of(0.0))),
    }
}
