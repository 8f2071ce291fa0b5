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

/// `1 / (1 + exp(-x))`, from an exponential that cannot overflow.
#[inline(always)]
pub fn sigmoid<R: Real>(x: R) -> R {
    let (one, e) = (R::of(1.0), Real::exp(-Real::max(x, -x)));
    (if x < R::of(0.0) { e } else { one }) / (one + e)
}

/// `silu(x) = x s`, `s = sigmoid(x)`, and its slope `s + x s (1 - s)`.
#[inline(always)]
pub fn silu_with_slope<R: Real>(x: R) -> (R, R) {
    let s = sigmoid(x);
    (x * s, s + x * s * sigmoid(-x))
}

/// The factor of QuickGELU.
const QUICK: f64 = 1.702;

/// `quick_gelu(x) = x sigmoid(1.702 x)`, the approximation of GELU that CLIP was trained with.
#[inline(always)]
pub fn quick_gelu<R: Real>(x: R) -> R {
    x * sigmoid(R::of(QUICK) * x)
}

/// `d quick_gelu / dx`, the slope of silu at `1.702 x`.
#[inline(always)]
pub fn quick_gelu_slope<R: Real>(x: R) -> R {
    silu_with_slope(R::of(QUICK) * x).1
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
        Activation::QuickGelu => vectorise!({
            for x in row {
                *x = quick_gelu(*x);
            }
        }),
        Activation::Relu => row.iter_mut().for_each(|x| *x = Real::max(*x, R::of(0.0))),
    }
}
