//! Diagonal of a regularised Gram matrix and the powers of two that bring it near 1.

use super::add::elementwise;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Error, Result, params};

params! {
    /// Uniforms of `jacobi_scale.wgsl`.
    pub struct JacobiScaleParams { m: u32, n: u32, offset: u32, zero: u32, gamma_hi: f32, gamma_lo: f32 }
}

/// For one diagonal tile of G: `scale[offset + i] = 2^-k` and `diagonal[offset + i] = (G_ii + gamma) 4^-k` in [1/2, 2), as
/// pairs; k = 0 where the sum is not positive.
///
/// # Shapes
/// tile [2, n, n], scale `[m]`, diagonal [2, m], offset + n <= m.
#[derive(Clone, Copy, Debug)]
pub struct JacobiScale<'a> {
    pub tile: &'a Tensor,
    pub gamma: f64,
    pub offset: usize,
    pub scale: &'a Tensor,
    pub diagonal: &'a Tensor,
}

impl Kernel for JacobiScale<'_> {
    const NAME: &'static str = "jacobi_scale";
    type Params = JacobiScaleParams;

    fn params(&self) -> JacobiScaleParams {
        let gamma_hi = self.gamma as f32;
        JacobiScaleParams {
            m: self.scale.len() as u32,
            n: self.tile.cols() as u32,
            offset: self.offset as u32,
            zero: 0,
            gamma_hi,
            gamma_lo: (self.gamma - f64::from(gamma_hi)) as f32,
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let m = self.scale.len();
        let &[2, n, cols] = self.tile.shape() else {
            return Err(Error::shape(Self::NAME, "g", "[2, n, n]", self.tile.shape()));
        };
        if n != cols {
            return Err(Error::shape(Self::NAME, "g", [2, n, n], self.tile.shape()));
        }
        Ok(vec![
            read(1, "g", View::all(self.tile)),
            write(2, "scale", View::span(self.scale, self.offset, n)),
            write(3, "diagonal", View::shaped(self.diagonal, [2, m])),
        ])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("jacobi_scale", self.tile.cols(), caps))
    }
}
