//! Activation functions over slices, compiled for the widest vectors of this machine.

use crate::device::Real;
use crate::kernels::gemm::Activation;

/// `gelu(x) = x Phi(x)`, exact form.
#[inline(always)]
pub fn gelu<R: Real>(x: R) -> R {
    R::of(0.5) * x * (R::of(1.0) + Real::erf(x * R::of(std::f64::consts::FRAC_1_SQRT_2)))
}

/// `d gelu / dx = Phi(x) + x phi(x)`.
#[inline(always)]
pub fn gelu_grad<R: Real>(x: R) -> R {
    let phi = Real::exp(R::of(-0.5) * x * x) * R::of(0.398_942_280_401_432_7);
    R::of(0.5) * (R::of(1.0) + Real::erf(x * R::of(std::f64::consts::FRAC_1_SQRT_2))) + x * phi
}

/// Applies `activation` to every element.
pub fn activate<R: Real>(activation: Activation, row: &mut [R]) {
    match activation {
        Activation::None => {}
        Activation::Gelu => super::vectorise(|| row.iter_mut().for_each(|x| *x = gelu(*x))),
        Activation::Relu => row.iter_mut().for_each(|x| *x = Real::max(*x, R::of(0.0))),
    }
}
