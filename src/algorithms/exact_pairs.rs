//! Whether a device keeps sums and products in pairs of f32 exact.

use crate::Result;
use crate::device::Device;
use crate::kernels::error_free::ErrorFree;

/// Whether pairs of f32 are what they should be on this device: its compiler might reorder sums.
///
/// # Errors
/// Device errors.
pub async fn pairs_are_exact(device: &Device) -> Result<bool> {
    const N: usize = 64;
    // Mantissas of all 24 bits, exponents that overlap in every way.
    let number = |i: usize, seed: u32| {
        let bits = (i as u32 + 1).wrapping_mul(seed);
        let size = f32::from_bits((0x3f80_0000 + ((bits % 27) << 23)) | (bits >> 9) | 1);
        if bits & 64 == 0 { size } else { -size }
    };
    let a: Vec<f32> = (0..N).map(|i| number(i, 0x9e37_79b1)).collect();
    let b: Vec<f32> = (0..N).map(|i| number(i, 0x85eb_ca77)).collect();
    let y = device.reals(&[4, N])?;
    let (left, right) = (device.upload(&a, &[N])?, device.upload(&b, &[N])?);
    device.run(&ErrorFree { a: &left, b: &right, y: &y })?;
    let y: Vec<f32> = device.read(&y).await?;
    Ok((0..N).all(|i| {
        let (sum, product) = (a[i] + b[i], a[i] * b[i]);
        let [s, e, p, f] = [y[i], y[N + i], y[2 * N + i], y[3 * N + i]];
        let wide = [a[i], b[i]].map(f64::from);
        // Sums of numbers 2^27 apart have 51 bits, products 48: f64 holds both.
        s == sum
            && f64::from(e) == wide[0] + wide[1] - f64::from(s)
            && p == product
            && f64::from(f) == wide[0] * wide[1] - f64::from(p)
    }))
}
