//! Cholesky factor of one diagonal block.

use crate::device::{Bound, Caps, Constant, Io, Kernel, Plan, Real, Tensor, write};
use crate::{Result, cpu, params};

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

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![write(1, self.g), write(2, self.info)]
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

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::cholesky_block::cholesky_block(self, io);
    }
}
