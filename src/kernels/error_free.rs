//! Sums and products without error, as the other kernels form them.

use super::add::elementwise;
use crate::device::{Bound, Caps, Device, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Error, Result, cpu, params};

params! {
    /// Uniforms of `error_free.wgsl`.
    pub struct ErrorFreeParams { n: u32, zero: u32 }
}

/// `y[0] + y[1] = a + b` and `y[2] + y[3] = a b`, each first part the rounded result, each second its rounding error
/// (Knuth, The Art of Computer Programming 2, 4.2.2; Dekker, Numerische Mathematik 18, 1971).
///
/// # Shapes
/// a and b `[n]`, y [4, n].
#[derive(Clone, Copy, Debug)]
pub struct ErrorFree<'a> {
    pub a: &'a Tensor,
    pub b: &'a Tensor,
    pub y: &'a Tensor,
}

impl<'a> ErrorFree<'a> {
    /// # Errors
    /// [`Error::Shape`] where the sizes differ.
    pub fn new(a: &'a Tensor, b: &'a Tensor, y: &'a Tensor) -> Result<Self> {
        if a.len() != b.len() {
            return Err(Error::shape("error_free", "b", a.shape(), b.shape()));
        }
        if y.shape() != [4, a.len()] {
            return Err(Error::shape("error_free", "y", [4, a.len()], y.shape()));
        }
        Ok(Self { a, b, y })
    }
}

impl Kernel for ErrorFree<'_> {
    const NAME: &'static str = "error_free";
    type Params = ErrorFreeParams;

    fn params(&self) -> ErrorFreeParams {
        ErrorFreeParams { n: self.a.len() as u32, zero: 0 }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.a), read(2, self.b), write(3, self.y)]
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("error_free", self.a.len(), caps))
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::error_free::error_free(self, io);
    }
}

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
    device.run(&ErrorFree::new(&device.upload(&a, &[N])?, &device.upload(&b, &[N])?, &y)?)?;
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
