//! Triangular solve of many rows with one diagonal block of a Cholesky factor.

use super::cholesky_block::BLOCK;
use super::gemm::Mat;
use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, grid, read, write};
use crate::{Error, Result, params};

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

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let &Self { start, size, rows, rhs, scratch, .. } = self;
        let (m, holder) = (self.m(), self.l.unwrap_or(rhs.tensor));
        if size > BLOCK || start + size > m || start + size > scratch.cols() {
            let expected = format!("a block of at most {BLOCK} rows and columns inside");
            return Err(Error::shape(Self::NAME, "l", expected, holder.shape()));
        }
        let l = View::part(holder, start * m + start, [size, size], m);
        let x = View::part(rhs.tensor, rhs.offset + start, [rows, size], rhs.ld);
        let scratch = View::part(scratch, start, [rows, size], scratch.cols());
        let out = write(2, "x", x);
        // Where rhs holds L itself the binding covers both: the block lies before the rows.
        if self.l.is_none() && (l.end() > x.end() && rows > 0) {
            return Err(Error::shape(Self::NAME, "x", "the rows below the block", rhs.offset));
        }
        let l = self.l.map(|_| read(1, "l", l));
        Ok(l.into_iter().chain([out, write(3, "scratch", scratch)]).collect())
    }

    fn flops(&self) -> f64 {
        self.rows as f64 * (self.size as f64).powi(2)
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
}
