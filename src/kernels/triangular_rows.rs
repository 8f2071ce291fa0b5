//! Triangular solve of many rows with one diagonal block of a Cholesky factor.

use super::cholesky_block::BLOCK;
use super::gemm::Mat;
use crate::device::{Bound, Caps, Constant, Io, Kernel, Plan, Real, Tensor, grid, read, write};
use crate::{Result, cpu, params};

params! {
    /// Uniforms of `triangular_rows.wgsl`.
    pub struct TriangularRowsParams { m: u32, start: u32, size: u32, rows: u32, x_offset: u32, x_ld: u32, scratch_ld: u32 }
}

/// Solves `x L^T = a` (forward substitution) or `x L = a` (backward, if `transposed`) for every row
/// `a = rhs[r, start..start + size]` with the diagonal block `L = l[start.., start..]`, in place.
///
/// The result also goes to the same columns of `scratch`: a following product reads it there while it updates the rest of
/// `rhs`.
/// In a blocked Cholesky factorisation the forward form makes the panel below a diagonal block.
///
/// # Shapes
/// l [m, m] (the lower triangle counts); rhs: `rows` rows, of which columns `start..start + size` count; scratch [at least
/// rows, at least start + size]; size <= [`BLOCK`].
#[derive(Clone, Copy, Debug)]
pub struct TriangularRows<'a> {
    /// None: `rhs` itself is the matrix [m, m] that holds L, because one buffer cannot be bound twice.
    pub l: Option<&'a Tensor>,
    pub start: usize,
    pub size: usize,
    pub rhs: Mat<'a>,
    pub rows: usize,
    pub scratch: &'a Tensor,
    pub transposed: bool,
}

impl TriangularRows<'_> {
    /// Leading dimension of the matrix that holds L.
    pub(crate) fn m(&self) -> usize {
        self.l.unwrap_or(self.rhs.tensor).cols()
    }
}

impl Kernel for TriangularRows<'_> {
    const NAME: &'static str = "triangular_rows";
    type Params = TriangularRowsParams;

    fn params(&self) -> TriangularRowsParams {
        TriangularRowsParams {
            m: self.m() as u32,
            start: self.start as u32,
            size: self.size as u32,
            rows: self.rows as u32,
            x_offset: self.rhs.offset as u32,
            x_ld: self.rhs.ld as u32,
            scratch_ld: self.scratch.cols() as u32,
        }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        let mut all: Vec<_> = self.l.map(|l| read(1, l)).into_iter().collect();
        all.extend([write(2, self.rhs.tensor), write(3, self.scratch)]);
        all
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        assert!(self.size <= BLOCK && self.start + self.size <= self.m(), "a block inside its matrix");
        let wg = 32;
        Ok(Plan {
            shader: Self::NAME,
            constants: vec![
                ("SIZE", Constant::U32(BLOCK as u32)),
                ("WG", Constant::U32(wg as u32)),
                ("OWN", Constant::Flag(self.l.is_none())),
                ("TRANSPOSED", Constant::Flag(self.transposed)),
            ],
            workgroup: wg as u32,
            shared_bytes: (BLOCK * wg * 4) as u32,
            groups: grid(self.rows.div_ceil(wg), caps),
        })
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::triangular_rows::triangular_rows(self, io);
    }
}
