//! The lower triangle of a symmetric matrix in float64, as square tiles in host memory.

use std::cmp::Ordering;
use std::ops::Range;

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::linalg::product;
use crate::{Error, Result};

/// Side of a tile: two of them fill half a second-level cache, and packing them costs little beside their product.
pub const SIDE: usize = 256;

/// Tiles (0, 0), (1, 0), (1, 1), (2, 0), ... of a symmetric matrix [m, m], each column-major with `side` rows a column.
/// What lies outside the matrix, or above the diagonal inside a diagonal tile, is never read.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTiles {
    m: usize,
    side: usize,
    data: Vec<f64>,
}

/// A column-major tile, or the part of it that lies inside the matrix.
fn view(tile: &[f64], rows: usize, cols: usize, side: usize) -> MatRef<'_, f64> {
    MatRef::from_column_major_slice_with_stride(tile, rows, cols, side).as_dyn_stride()
}

fn view_mut(tile: &mut [f64], rows: usize, cols: usize, side: usize) -> MatMut<'_, f64> {
    MatMut::from_column_major_slice_with_stride_mut(tile, rows, cols, side).as_dyn_stride_mut()
}

/// Row and column of tile `index`.
fn place(index: usize) -> (usize, usize) {
    let row = ((8 * index + 1).isqrt() - 1) / 2;
    (row, index - row * (row + 1) / 2)
}

fn index(row: usize, col: usize) -> usize {
    row * (row + 1) / 2 + col
}

impl HostTiles {
    /// The zero matrix.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn zeros(m: usize) -> Result<Self> {
        let side = SIDE.min(m).max(1);
        let n = m.div_ceil(side);
        // Memory that the system gives as zeros takes up room when it is first touched.
        let data = bytemuck::try_zeroed_vec(n * (n + 1) / 2 * side * side).map_err(|()| out_of_memory(m))?;
        Ok(Self { m, side, data })
    }

    /// A copy.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn fork(&self) -> Result<Self> {
        let mut copy = Self::zeros(self.m)?;
        copy.data.par_chunks_mut(self.side * self.side).zip(self.data.par_chunks(self.side * self.side)).for_each(
            // Memory takes up room when it is first touched, which is most of the cost.
            |(to, from)| to.copy_from_slice(from),
        );
        Ok(copy)
    }

    pub fn size(&self) -> usize {
        self.m
    }

    pub fn side(&self) -> usize {
        self.side
    }

    /// Rows of tiles.
    pub fn count(&self) -> usize {
        self.m.div_ceil(self.side)
    }

    /// Rows of the matrix in row `i` of tiles.
    pub fn rows(&self, i: usize) -> Range<usize> {
        i * self.side..self.m.min((i + 1) * self.side)
    }

    /// The part of tile (i, j), i >= j, that lies inside the matrix.
    pub fn tile(&self, i: usize, j: usize) -> MatRef<'_, f64> {
        let area = self.side * self.side;
        view(&self.data[index(i, j) * area..][..area], self.rows(i).len(), self.rows(j).len(), self.side)
    }

    pub fn tile_mut(&mut self, i: usize, j: usize) -> MatMut<'_, f64> {
        let (area, rows, cols) = (self.side * self.side, self.rows(i).len(), self.rows(j).len());
        view_mut(&mut self.data[index(i, j) * area..][..area], rows, cols, self.side)
    }

    /// Calls `work(i, j, tile)` for every tile that `chosen`, on all cores.
    pub fn for_each(
        &mut self,
        chosen: impl Fn(usize, usize) -> bool + Sync,
        work: impl Fn(usize, usize, MatMut<'_, f64>) + Sync,
    ) {
        let (m, side) = (self.m, self.side);
        let inside = |i: usize| side.min(m - i * side);
        self.data.par_chunks_mut(side * side).enumerate().with_max_len(1).for_each(|(at, tile)| {
            let (i, j) = place(at);
            if chosen(i, j) {
                work(i, j, view_mut(tile, inside(i), inside(j), side));
            }
        });
    }

    /// Adds `x` to the diagonal.
    pub fn shift(&mut self, x: f64) {
        for i in 0..self.count() {
            let mut tile = self.tile_mut(i, i);
            (0..tile.nrows()).for_each(|k| tile[(k, k)] += x);
        }
    }

    /// Sum of the diagonal.
    pub fn trace(&self) -> f64 {
        (0..self.count()).map(|i| self.tile(i, i).diagonal().column_vector().iter().sum::<f64>()).sum()
    }

    /// Adds another matrix of the same size.
    pub fn add(&mut self, other: &Self) {
        assert_eq!(self.m, other.m, "sums are of equal sizes");
        self.data.par_iter_mut().zip(&other.data).for_each(|(x, y)| *x += y);
    }

    /// `dst += scale (G + shift I) x` in row `i` of tiles, on the calling thread; `x` gives the rows of x that a row of tiles
    /// has.
    pub fn multiply<'x>(
        &self,
        i: usize,
        shift: f64,
        x: impl Fn(usize) -> MatRef<'x, f64>,
        scale: f64,
        mut dst: MatMut<'_, f64>,
    ) {
        for j in 0..self.count() {
            match i.cmp(&j) {
                Ordering::Greater => product(dst.as_mut(), Accum::Add, self.tile(i, j), x(j), scale),
                Ordering::Less => product(dst.as_mut(), Accum::Add, self.tile(j, i).transpose(), x(j), scale),
                Ordering::Equal => {
                    let lower = self.tile(i, i);
                    let full = Mat::from_fn(lower.nrows(), lower.ncols(), |r, c| {
                        lower[(r.max(c), r.min(c))] + if r == c { shift } else { 0.0 }
                    });
                    product(dst.as_mut(), Accum::Add, full.as_ref().as_dyn_stride(), x(i), scale);
                }
            }
        }
    }

    /// The lower triangle row after row, m (m + 1) / 2 numbers ("packed" in LAPACK's words).
    pub fn pack(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.m).flat_map(move |row| (0..=row).map(move |col| self.at(row, col)))
    }

    /// One entry of the lower triangle.
    pub fn at(&self, row: usize, col: usize) -> f64 {
        self.tile(row / self.side, col / self.side)[(row % self.side, col % self.side)]
    }

    /// Sets the lower triangle in some rows to `value(row, col)`.
    pub fn fill(&mut self, rows: Range<usize>, value: impl Fn(usize, usize) -> f64 + Sync) {
        let side = self.side;
        self.for_each(
            |i, _| i * side < rows.end && (i + 1) * side > rows.start,
            |i, j, mut tile| {
                for col in j * side..j * side + tile.ncols() {
                    for row in rows.start.max(i * side).max(col)..rows.end.min(i * side + tile.nrows()) {
                        tile[(row - i * side, col - j * side)] = value(row, col);
                    }
                }
            },
        );
    }

    /// Takes the lower triangle `packed`, as [`HostTiles::pack`] gives it.
    pub fn unpack(&mut self, packed: &[f64]) {
        let side = self.side;
        self.for_each(
            |_, _| true,
            |i, j, mut tile| {
                for (r, row) in (i * side..).take(tile.nrows()).enumerate() {
                    let start = row * (row + 1) / 2 + j * side;
                    (0..tile.ncols().min(row + 1 - j * side)).for_each(|c| tile[(r, c)] = packed[start + c]);
                }
            },
        );
    }
}

fn out_of_memory(m: usize) -> Error {
    Error::OutOfMemory { during: format!("a Gram matrix [{m}, {m}]") }
}

/// `dst += scale lhs rhs`; of a tile on the diagonal the lower triangle alone.
pub fn update(dst: MatMut<'_, f64>, diagonal: bool, lhs: MatRef<'_, f64>, rhs: MatRef<'_, f64>, scale: f64) {
    if diagonal {
        let (lower, full) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
        triangular::matmul(dst, lower, Accum::Add, lhs, full, rhs, full, scale, Par::Seq);
    } else {
        product(dst, Accum::Add, lhs, rhs, scale);
    }
}
