//! Branch-free f32 elementary functions that the compiler can vectorise (libm calls cannot be).
//! Errors are relative unless said, measured over the whole range by the tests below.

/// `c[0] x^n + c[1] x^(n - 1) + ... + c[n]` by Horner's rule with fused steps.
#[inline(always)]
pub fn polynomial<const N: usize>(x: f32, c: [f32; N]) -> f32 {
    let mut sum = c[0];
    for c in &c[1..] {
        sum = sum.mul_add(x, *c);
    }
    sum
}

/// Where `exp` saturates: at 1.4 * 2^-126 and just under 2^128.
const EXP_RANGE: [f32; 2] = [-86.98, 88.722];

/// `e^x`, error below 3e-7; saturates at 1.4 * 2^-126 and just under 2^128.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(EXP_RANGE[0], EXP_RANGE[1]);
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low mantissa bits.
    let shifted = x.mul_add(std::f32::consts::LOG2_E, 12_582_912.0);
    let n = shifted - 12_582_912.0;
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, x));
    // 2 e^r times 2^(n - 1), as 2^128 is no f32.
    let p = polynomial(r, [2.0 / 5040.0, 2.0 / 720.0, 2.0 / 120.0, 2.0 / 24.0, 2.0 / 6.0, 1.0, 2.0, 2.0]);
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(126) << 23);
    p * scale
}

/// Natural logarithm of a positive normal number, error below 3e-7 (absolute near 1).
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    // Mantissa in [sqrt(1/2), sqrt(2)).
    let e = (bits.wrapping_sub(0x3f35_04f3) as i32) >> 23;
    let m = f32::from_bits(bits.wrapping_sub((e as u32) << 23));
    (e as f32).mul_add(std::f32::consts::LN_2, ln_1p(m - 1.0))
}

/// `ln(1 + f)` for `1 + f` in [sqrt(1/2), sqrt(2)]: `2 atanh(s)` with `s = f / (f + 2)`, |s| < 0.172.
#[inline(always)]
pub fn ln_1p(f: f32) -> f32 {
    let s = f / (f + 2.0);
    let t = s * s;
    (s * t).mul_add(polynomial(t, [2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0]), 2.0 * s)
}

/// (sin, cos) of `turns` full circles, absolute error below 2e-7 for |turns| < 2^20. Within a quarter the minimax
/// polynomials of Cephes (Moshier, sinf and cosf).
#[inline(always)]
pub fn sin_cos_turns(turns: f32) -> (f32, f32) {
    let shifted = turns.mul_add(4.0, 12_582_912.0);
    let quadrant = shifted.to_bits();
    let r = turns.mul_add(4.0, 12_582_912.0 - shifted) * std::f32::consts::FRAC_PI_2;
    let t = r * r;
    let s = (r * t).mul_add(polynomial(t, [-1.951_529_6e-4, 8.332_161e-3, -0.166_666_55]), r);
    let c = polynomial(t, [2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2, -0.5, 1.0]);
    let (a, b) = if quadrant & 1 == 0 { (s, c) } else { (c, s) };
    let sin = f32::from_bits(a.to_bits() ^ ((quadrant & 2) << 30));
    let cos = f32::from_bits(b.to_bits() ^ ((quadrant.wrapping_add(1) & 2) << 30));
    (sin, cos)
}

/// Distribution function (absolute error below 3e-7: half of Abramowitz and Stegun 7.1.26's 1.5e-7, where
/// `erfc = p(t) e^(-x^2 / 2)`, the rest rounding) and density (error below 6e-6) of the standard normal distribution.
#[inline(always)]
pub fn normal(x: f32) -> (f32, f32) {
    let t = 1.0 / x.abs().mul_add(0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2, 1.0);
    let p = t * polynomial(t, [1.061_405_4, -1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6]);
    let e = exp(-0.5 * x * x);
    let tail = 0.5 * p * e;
    (if x < 0.0 { tail } else { 1.0 - tail }, e * super::real::INV_SQRT_TAU as f32)
}

#[cfg(test)]
mod tests {
    use crate::device::Real;

    fn worst(range: std::ops::Range<f64>, mut error: impl FnMut(f32) -> f64) -> f64 {
        let n = 200_001;
        (0..n)
            .map(|i| error((range.start + (range.end - range.start) * f64::from(i) / f64::from(n - 1)) as f32))
            .fold(0.0, f64::max)
    }

    #[test]
    fn errors_are_as_documented() {
        let ln = worst(1e-7..4.0, |x| {
            let want = f64::from(x).ln();
            (f64::from(super::ln(x)) - want).abs() / want.abs().max(1.0)
        });
        assert!(ln < 3e-7, "ln {ln:e}");
        let turn = worst(-3.0..3.0, |x| {
            let (s, c) = super::sin_cos_turns(x);
            let (want_s, want_c) = (std::f64::consts::TAU * f64::from(x)).sin_cos();
            (f64::from(s) - want_s).abs().max((f64::from(c) - want_c).abs())
        });
        assert!(turn < 2e-7, "sin_cos_turns {turn:e}");
        let cdf = worst(-13.0..13.0, |x| (f64::from(super::normal(x).0) - Real::normal(f64::from(x)).0).abs());
        assert!(cdf < 3e-7, "distribution function {cdf:e}");
        let pdf = worst(-13.0..13.0, |x| {
            let want = Real::normal(f64::from(x)).1;
            (f64::from(super::normal(x).1) - want).abs() / want
        });
        // That of exp and the rounding of x^2 / 2 <= 85.
        assert!(pdf < 6e-6, "density {pdf:e}");
    }

    fn exp_error(x: f32) -> f64 {
        let want = f64::from(x).exp();
        (f64::from(super::exp(x)) - want).abs() / want
    }

    #[test]
    fn exp_is_exact_to_its_ends_and_saturates_beyond() {
        let [low, high] = super::EXP_RANGE;
        let between = worst(low.into()..high.into(), exp_error);
        assert!(between < 3e-7, "{between:e}");
        // Every number near the ends, where the power of two is the smallest and the largest.
        for (from, to) in [(-86.0f32, low), (88.0f32, high)] {
            let (error, x) = (from.to_bits()..=to.to_bits())
                .map(f32::from_bits)
                .map(|x| (exp_error(x), x))
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .expect("numbers");
            assert!(error < 3e-7, "{x}: {error:e}");
        }
        let beyond = |from: f32, to: f32| (from.to_bits()..=to.to_bits()).step_by(101).map(f32::from_bits);
        assert!(beyond(high, 90.0).chain([1e9, f32::MAX, f32::INFINITY]).all(|x| super::exp(x) == super::exp(high)));
        assert!(beyond(low, -90.0).chain([-1e9, f32::MIN, -f32::INFINITY]).all(|x| super::exp(x) == super::exp(low)));
        assert!(super::exp(high) < f32::MAX && super::exp(low) > f32::MIN_POSITIVE);
        let tiny = [0u32, 1, 0x007f_ffff, 0x0080_0000].map(f32::from_bits);
        assert!(tiny.into_iter().all(|x| super::exp(x) == 1.0 && super::exp(-x) == 1.0));
        assert!(super::exp(f32::NAN).is_nan());
    }
}
