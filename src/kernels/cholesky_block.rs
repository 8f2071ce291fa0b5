//! Cholesky factor of one diagonal block.

use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, write};
use crate::{Error, Result, params};

/// Rows of the largest block; its lower triangle fits into workgroup memory, and products of this depth keep `gemm`
/// busy.
pub const BLOCK: usize = 64;

params! {
    /// Uniforms of `cholesky_block.wgsl`.
    pub struct CholeskyBlockParams { m: u32, start: u32, size: u32, first: u32 }
}

/// Replaces the lower triangle of `G[start.., start..]` (`size` rows and columns) by its Cholesky factor L with
/// `L L^T = G`.
///
/// The first pivot that is not positive, normal and finite is recorded as `info = (column, pivot)`, if
/// `info[0] = -1` said that there was none before; the numbers are then meaningless.
///
/// # Shapes
/// g [m, m], info `[2]`, size <= [`BLOCK`].
#[derive(Clone, Copy, Debug)]
pub struct CholeskyBlock<'a> {
    pub g: &'a Tensor,
    pub info: &'a Tensor,
    pub start: usize,
    pub size: usize,
    /// Column of a larger matrix at which g starts: what `info` counts from.
    pub first: usize,
}

impl Kernel for CholeskyBlock<'_> {
    const NAME: &'static str = "cholesky_block";
    type Params = CholeskyBlockParams;

    fn params(&self) -> CholeskyBlockParams {
        let [start, size, first] = [self.start, self.size, self.first].map(|x| x as u32);
        CholeskyBlockParams { m: self.g.cols() as u32, start, size, first }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let m = self.g.cols();
        if self.size > BLOCK || self.start + self.size > m {
            return Err(Error::shape(
                Self::NAME,
                "g",
                format!("a block of at most {BLOCK} rows inside"),
                self.g.shape(),
            ));
        }
        Ok(vec![write(1, "g", View::shaped(self.g, [m, m])), write(2, "info", View::shaped(self.info, [2]))])
    }

    fn flops(&self) -> f64 {
        (self.size as f64).powi(3) / 3.0
    }

    fn plan(&self, _: &Caps) -> Result<Plan> {
        assert!(self.size <= BLOCK && self.start + self.size <= self.g.cols(), "a block inside its matrix");
        Ok(Plan {
            shader: Self::NAME,
            constants: vec![("SIZE", Constant::U32(BLOCK as u32))],
            workgroup: BLOCK as u32,
            shared_bytes: (BLOCK * (BLOCK + 1) / 2 * 4) as u32,
            groups: [1, 1, 1],
        })
    }
}
