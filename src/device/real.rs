//! Element type of the CPU device: the twins are written once and run in f32 (the device) and in f64 (the oracle).

use std::ops::{AddAssign, DivAssign, MulAssign, SubAssign};

/// A real number that the CPU device can store and compute with.
pub trait Real:
    Copy
    + Default
    + PartialOrd
    + Send
    + Sync
    + std::fmt::Debug
    + std::iter::Sum
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + faer::traits::RealField
    + 'static
{
    /// Unit roundoff times two (distance from 1 to the next number).
    const EPSILON: f64;
    /// The nearest number of this type.
    fn of(x: f64) -> Self;
    /// The same number in f64, exactly.
    fn get(self) -> f64;
    /// `e^self`; f32 saturates at 1.4 * 2^-126 and just under 2^128.
    fn exp(self) -> Self;
    /// Natural logarithm of a positive normal number.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// `self a + b` in one rounding; fast only in code compiled for vectors.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// Sine and cosine of an angle in turns, `2 pi` each.
    fn sin_cos_turns(turns: Self) -> (Self, Self);
    /// Distribution function and density of the standard normal distribution.
    fn normal(self) -> (Self, Self);
    /// The larger of the two; of a number and NaN, the number.
    fn max(self, other: Self) -> Self;
    /// The columns of four rows, one after the other.
    #[inline(always)]
    fn columns<const N: usize>(rows: [[Self; N]; 4]) -> [[Self; 4]; N] {
        std::array::from_fn(|i| rows.map(|row| row[i]))
    }
}

/// `1 / sqrt(2 pi)`
pub(super) const INV_SQRT_TAU: f64 = 0.398_942_280_401_432_7;

impl Real for f64 {
    const EPSILON: f64 = f64::EPSILON;
    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn get(self) -> f64 {
        self
    }
    #[inline(always)]
    fn exp(self) -> Self {
        f64::exp(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        f64::ln(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        f64::mul_add(self, a, b)
    }
    #[inline(always)]
    fn sin_cos_turns(turns: Self) -> (Self, Self) {
        (std::f64::consts::TAU * turns).sin_cos()
    }
    #[inline(always)]
    fn normal(self) -> (Self, Self) {
        let cdf = 0.5 * libm::erfc(-self * std::f64::consts::FRAC_1_SQRT_2);
        (cdf, (-0.5 * self * self).exp() * INV_SQRT_TAU)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        f64::max(self, other)
    }
}

/// Plain polynomials instead of libm calls, so that loops over slices vectorise.
impl Real for f32 {
    const EPSILON: f64 = f32::EPSILON as f64;
    #[inline(always)]
    fn of(x: f64) -> Self {
        x as f32
    }
    #[inline(always)]
    fn get(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn exp(self) -> Self {
        super::fastmath::exp(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        super::fastmath::ln(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        f32::mul_add(self, a, b)
    }
    #[inline(always)]
    fn sin_cos_turns(turns: Self) -> (Self, Self) {
        super::fastmath::sin_cos_turns(turns)
    }
    #[inline(always)]
    fn normal(self) -> (Self, Self) {
        super::fastmath::normal(self)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        f32::max(self, other)
    }
    /// By way of pairs of numbers: the compiler makes vector shuffles of that, and inserts of single numbers of the rest.
    #[inline(always)]
    fn columns<const N: usize>(rows: [[Self; N]; 4]) -> [[Self; 4]; N] {
        let (mut left, mut right, mut columns) = ([0; N], [0; N], [[0.0; 4]; N]);
        let pair = |a: f32, b: f32| u64::from(a.to_bits()) | u64::from(b.to_bits()) << 32;
        for i in 0..N {
            left[i] = pair(rows[0][i], rows[1][i]);
        }
        for i in 0..N {
            right[i] = pair(rows[2][i], rows[3][i]);
        }
        for i in 0..N {
            columns[i] = bytemuck::cast([left[i], right[i]]);
        }
        columns
    }
}
