//! Cholesky factorisation and substitution of a symmetric positive definite matrix in tiles.

use super::tiles::Tiles;
use crate::device::{Device, Tensor};
use crate::kernels::cholesky_block::{BLOCK, CholeskyBlock};
use crate::kernels::gemm::{Gemm, Layout, Mat};
use crate::kernels::triangular_rows::TriangularRows;
use crate::{Error, Result};

/// The factor L of `A = L L^T` in tiles; above its diagonal stands anything.
#[derive(Clone, Debug)]
pub struct Factor {
    pub l: Tiles,
    /// (column, pivot) of the first unusable pivot; column -1: none.
    info: Tensor,
    device: Device,
}

/// Factors `a`, whose tiles become the factor's. Whether `a` was positive definite is told by [`Factor::status`];
/// `advance` hears how many more columns were handed to the device.
///
/// Blocked and right-looking (Golub and Van Loan, Matrix Computations, 4.2.9), by tiles and again inside the diagonal ones:
/// factor a diagonal block, solve the panel below it, subtract the panel's products from the lower triangle that remains.
///
/// # Shapes
/// Tiles of one layer, of which the lower triangle is read.
///
/// # Errors
/// Any earlier failure of the queue, and what plans refuse.
pub fn factor(device: &Device, a: Tiles, advance: &mut dyn FnMut(usize)) -> Result<Factor> {
    let info = device.upload(&[-1.0f32, 0.0], &[2])?;
    let scratch = device.reals(&[a.side(), a.side()])?;
    let n = a.count();
    for j in 0..n {
        factor_tile(device, a.tile(j, j), &info, a.range(j).start, &scratch)?;
        for i in j + 1..n {
            let panel = a.tile(i, j);
            let rows = Rows { x: Mat::at(panel, 0, a.range(j).len()), count: a.range(i).len(), scratch: &scratch };
            rows.substitute(device, a.tile(j, j), false)?;
        }
        for (i, k) in (j + 1..n).flat_map(|i| (j + 1..=i).map(move |k| (i, k))) {
            let [rows, cols, depth] = [i, k, j].map(|t| a.range(t).len());
            let tile = |row, ld| Mat::at(a.tile(row, j), 0, ld);
            let out = Mat::at(a.tile(i, k), 0, cols);
            let update = Gemm::of(Layout::NT, [rows, cols, depth], tile(i, depth), tile(k, depth), out);
            device.run(&Gemm { alpha: -1.0, accumulate: true, lower: i == k, ..update })?;
        }
        device.flush()?;
        advance(a.range(j).len());
    }
    Ok(Factor { l: a, info, device: device.clone() })
}

/// Factors one diagonal tile, whose first column is column `first` of the whole matrix.
fn factor_tile(device: &Device, tile: &Tensor, info: &Tensor, first: usize, scratch: &Tensor) -> Result<()> {
    let m = tile.cols();
    for start in (0..m).step_by(BLOCK) {
        let size = BLOCK.min(m - start);
        device.run(&CholeskyBlock { g: tile, info, start, size, first })?;
        let (end, rows) = (start + size, m - start - size);
        if rows == 0 {
            break;
        }
        device.run(&TriangularRows {
            l: None,
            start,
            size,
            rhs: Mat::at(tile, end * m, m),
            rows,
            scratch,
            transposed: false,
        })?;
        let (panel, rest) = (Mat::at(scratch, start, scratch.cols()), Mat::at(tile, end * m + end, m));
        let update = Gemm::of(Layout::NT, [rows, rows, size], panel, panel, rest);
        device.run(&Gemm { alpha: -1.0, accumulate: true, lower: true, ..update })?;
    }
    Ok(())
}

/// `count` rows of right-hand sides, which become solutions; scratch receives a copy.
struct Rows<'a> {
    x: Mat<'a>,
    count: usize,
    /// [at least count, at least as many columns as x]
    scratch: &'a Tensor,
}

impl Rows<'_> {
    /// Solves `x L^T = b`, or `x L = b` if transposed, with one diagonal tile `l`.
    fn substitute(&self, device: &Device, l: &Tensor, transposed: bool) -> Result<()> {
        let &Rows { x, count, scratch } = self;
        let m = l.cols();
        for step in 0..m.div_ceil(BLOCK) {
            let start = BLOCK * if transposed { m.div_ceil(BLOCK) - 1 - step } else { step };
            let size = BLOCK.min(m - start);
            device.run(&TriangularRows { l: Some(l), start, size, rhs: x, rows: count, scratch, transposed })?;
            // Forward, the columns behind the block lose X_block L[behind, block]^T; backward, those before it lose
            // X_block L[block, before].
            let end = start + size;
            let (layout, first, columns, at) = if transposed {
                (Layout::NN, 0, start, start * m)
            } else {
                (Layout::NT, end, m - end, end * m + start)
            };
            if columns > 0 && count > 0 {
                let (a, b) = (Mat::at(scratch, start, scratch.cols()), Mat::at(l, at, m));
                let out = Mat { offset: x.offset + first, ..x };
                let update = Gemm::of(layout, [count, columns, size], a, b, out);
                device.run(&Gemm { alpha: -1.0, accumulate: true, ..update })?;
            }
        }
        Ok(())
    }
}

impl Factor {
    /// Solves `x A = b` in place for every row of `x`: forward with `y L^T = b`, then backward with `x L = y`.
    ///
    /// # Shapes
    /// x [rows, m].
    ///
    /// # Errors
    /// [`Error::Shape`] where the columns of `x` are not those of the factor; any earlier failure of the queue.
    pub fn solve(&self, x: &Tensor) -> Result<()> {
        let (l, m, count, n) = (&self.l, self.l.size(), x.rows(), self.l.count());
        if x.shape() != [count, m] {
            return Err(Error::shape("cholesky solve", "x", [count, m], x.shape()));
        }
        let solved = self.device.reals(&[count, l.side()])?;
        for (j, transposed) in (0..n).map(|j| (j, false)).chain((0..n).rev().map(|j| (j, true))) {
            let columns = l.range(j);
            let rows = Rows { x: Mat::at(x, columns.start, m), count, scratch: &solved };
            rows.substitute(&self.device, l.tile(j, j), transposed)?;
            let others = if transposed { 0..j } else { j + 1..n };
            for i in others {
                let width = l.range(i).len();
                let (layout, b) = if transposed {
                    (Layout::NN, Mat::at(l.tile(j, i), 0, width))
                } else {
                    (Layout::NT, Mat::at(l.tile(i, j), 0, columns.len()))
                };
                let (a, out) = (Mat::of(&solved), Mat::at(x, l.range(i).start, m));
                let update = Gemm::of(layout, [count, width, columns.len()], a, b, out);
                self.device.run(&Gemm { alpha: -1.0, accumulate: true, ..update })?;
            }
        }
        Ok(())
    }

    /// Waits for the factorisation and tells whether it succeeded.
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`] with the first pivot that is not positive; any failure of the queue.
    pub async fn status(&self) -> Result<()> {
        let info: Vec<f64> = self.device.read(&self.info).await?;
        if info[0] < 0.0 {
            return Ok(());
        }
        Err(Error::NotPositiveDefinite { column: info[0] as usize, pivot: info[1] })
    }
}
