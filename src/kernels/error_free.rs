//! Sums and products without error, as the other kernels form them.

use super::add::elementwise;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

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

impl Kernel for ErrorFree<'_> {
    const NAME: &'static str = "error_free";
    type Params = ErrorFreeParams;

    fn params(&self) -> ErrorFreeParams {
        ErrorFreeParams { n: self.a.len() as u32, zero: 0 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let n = self.a.len();
        let [a, b] = [self.a, self.b].map(|x| View::shaped(x, [n]));
        Ok(vec![read(1, "a", a), read(2, "b", b), write(3, "y", View::shaped(self.y, [4, n]))])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("error_free", self.a.len(), caps))
    }
}
