//! Branch-free f32 elementary functions that the compiler can vectorise (libm calls cannot be).
//! Errors are relative unless said, measured over the whole range by the tests below.

/// `e^x`, error below 3e-7; saturates at 2^-126 and just under 2^128.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.3, 88.7);
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low mantissa bits.
    let shifted = x * std::f32::consts::LOG2_E + 12_582_912.0;
    let n = shifted - 12_582_912.0;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    p * scale
}

/// Natural logarithm of a positive normal number, error below 3e-7 (absolute near 1).
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    // Mantissa in [sqrt(1/2), sqrt(2)).
    let e = (bits.wrapping_sub(0x3f35_04f3) as i32) >> 23;
    let m = f32::from_bits(bits.wrapping_sub((e as u32) << 23));
    // ln m = 2 atanh((m - 1) / (m + 1)), |s| < 0.172
    let s = (m - 1.0) / (m + 1.0);
    let t = s * s;
    let p = 2.0 / 9.0;
    let p = p * t + 2.0 / 7.0;
    let p = p * t + 2.0 / 5.0;
    let p = p * t + 2.0 / 3.0;
    let e = e as f32;
    (2.0 * s + s * t * p) + e * std::f32::consts::LN_2
}

/// (sin, cos) of `turns` full circles, absolute error below 2e-7 for |turns| < 2^20.
#[inline(always)]
pub fn sin_cos_turns(turns: f32) -> (f32, f32) {
    let shifted = turns * 4.0 + 12_582_912.0;
    let quadrant = shifted.to_bits();
    let r = (turns * 4.0 - (shifted - 12_582_912.0)) * std::f32::consts::FRAC_PI_2;
    let t = r * r;
    let p = 1.0 / 362_880.0;
    let p = p * t - 1.0 / 5040.0;
    let p = p * t + 1.0 / 120.0;
    let p = p * t - 1.0 / 6.0;
    let s = r + r * t * p;
    let q = -1.0 / 3_628_800.0;
    let q = q * t + 1.0 / 40_320.0;
    let q = q * t - 1.0 / 720.0;
    let q = q * t + 1.0 / 24.0;
    let q = q * t - 0.5;
    let c = 1.0 + t * q;
    let (a, b) = if quadrant & 1 == 0 { (s, c) } else { (c, s) };
    let sin = f32::from_bits(a.to_bits() ^ ((quadrant & 2) << 30));
    let cos = f32::from_bits(b.to_bits() ^ ((quadrant.wrapping_add(1) & 2) << 30));
    (sin, cos)
}

/// Gauss error function, absolute error below 6e-7: 1.5e-7 of the formula (Abramowitz and Stegun 7.1.26), the rest
/// rounding, where 1 - p cancels.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let p = 1.061_405_4 * t - 1.453_152_1;
    let p = p * t + 1.421_413_8;
    let p = p * t - 0.284_496_72;
    let p = p * t + 0.254_829_6;
    (1.0 - p * t * exp(-a * a)).copysign(x)
}

#[cfg(test)]
mod tests {
    fn worst(range: std::ops::Range<f64>, mut error: impl FnMut(f32) -> f64) -> f64 {
        let n = 200_001;
        (0..n)
            .map(|i| error((range.start + (range.end - range.start) * f64::from(i) / f64::from(n - 1)) as f32))
            .fold(0.0, f64::max)
    }

    #[test]
    fn errors_are_as_documented() {
        let exp = worst(-87.0..88.0, |x| {
            let want = f64::from(x).exp();
            (f64::from(super::exp(x)) - want).abs() / want
        });
        assert!(exp < 3e-7, "exp {exp:e}");
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
        let erf = worst(-6.0..6.0, |x| (f64::from(super::erf(x)) - libm::erf(f64::from(x))).abs());
        assert!(erf < 6e-7, "erf {erf:e}");
        assert_eq!(super::exp(-1e9), super::exp(-87.3));
    }
}
