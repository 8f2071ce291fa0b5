//! Cholesky factorisation of tiles, and what is solved with it.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltError, cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::tiles::{HostTiles, update};
use crate::linalg::product;
use crate::{Error, Result};

/// The factor L of `G = L L^T`.
#[derive(Debug)]
pub struct HostFactor(HostTiles);

/// Right-hand sides [m, C], column-major within each row of tiles, so that rows of tiles are worked on in parallel.
#[derive(Clone, Debug)]
pub struct Columns {
    data: Vec<f64>,
    m: usize,
    side: usize,
    cols: usize,
}

impl Columns {
    /// From the transpose [C, m].
    pub fn of(transposed: &[f64], like: &HostTiles) -> Self {
        let (m, side) = (like.size(), like.side());
        let cols = transposed.len() / m;
        let mut data = Vec::with_capacity(transposed.len());
        for i in 0..like.count() {
            let rows = like.rows(i);
            (0..cols).for_each(|c| data.extend_from_slice(&transposed[c * m..][rows.clone()]));
        }
        Self { data, m, side, cols }
    }

    /// The transpose [C, m].
    pub fn transposed(&self) -> Vec<f64> {
        let mut out = vec![0.0; self.data.len()];
        for (i, block) in self.data.chunks(self.side * self.cols).enumerate() {
            let rows = block.len() / self.cols;
            for (c, column) in block.chunks(rows).enumerate() {
                out[c * self.m + i * self.side..][..rows].copy_from_slice(column);
            }
        }
        out
    }

    /// Largest absolute entry; NaN where there is one.
    pub fn largest(&self) -> f64 {
        self.data.iter().fold(0.0, |top: f64, x| if x.is_nan() { f64::NAN } else { top.max(x.abs()) + 0.0 * top })
    }

    /// Sum of the products of entries.
    pub fn dot(&self, other: &Self) -> f64 {
        self.data.iter().zip(&other.data).map(|(x, y)| x * y).sum()
    }

    pub fn add(&mut self, other: &Self) {
        self.data.iter_mut().zip(&other.data).for_each(|(x, y)| *x += y);
    }

    fn block(&self, i: usize) -> MatRef<'_, f64> {
        let rows = self.side.min(self.m - i * self.side);
        let data = &self.data[i * self.side * self.cols..][..rows * self.cols];
        MatRef::from_column_major_slice(data, rows, self.cols).as_dyn_stride()
    }

    /// Calls `work(i, block)` for every row of tiles that is `chosen`, on all cores.
    fn for_each(&mut self, chosen: impl Fn(usize) -> bool + Sync, work: impl Fn(usize, MatMut<'_, f64>) + Sync) {
        let cols = self.cols;
        self.data.par_chunks_mut(self.side * cols).enumerate().with_max_len(1).for_each(|(i, block)| {
            if chosen(i) {
                let rows = block.len() / cols;
                work(i, MatMut::from_column_major_slice_mut(block, rows, cols).as_dyn_stride_mut());
            }
        });
    }
}

/// `G x`.
pub fn times(g: &HostTiles, x: &Columns) -> Columns {
    let mut out = Columns { data: vec![0.0; x.data.len()], ..*x };
    out.for_each(|_| true, |i, out| g.multiply(i, 0.0, |j| x.block(j), 1.0, out));
    out
}

/// `b - (G + gamma I) x`.
pub fn residual(g: &HostTiles, gamma: f64, x: &Columns, b: &Columns) -> Columns {
    let mut out = b.clone();
    out.for_each(|_| true, |i, out| g.multiply(i, gamma, |j| x.block(j), -1.0, out));
    out
}

impl HostFactor {
    /// Factors the matrix in its own memory, right-looking (Golub and Van Loan, Matrix Computations, 4.2.9): factor the
    /// tile on the diagonal, solve the panel below it, subtract the panel's products from what remains. `advance` hears
    /// of every batch of columns that is done.
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`].
    pub fn new(mut g: HostTiles, advance: &mut dyn FnMut(usize)) -> Result<Self> {
        let mut stack = MemBuffer::new(cholesky_in_place_scratch::<f64>(g.side(), Par::Seq, Default::default()));
        for k in 0..g.count() {
            let mut tile = g.tile_mut(k, k);
            let stack = MemStack::new(&mut stack);
            if let Err(LltError::NonPositivePivot { index }) =
                cholesky_in_place(tile.as_mut(), Default::default(), Par::Seq, stack, Default::default())
            {
                // The pivot is left where it was found.
                let pivot = tile[(index, index)];
                return Err(Error::NotPositiveDefinite { column: g.rows(k).start + index, pivot });
            }
            let diagonal = g.tile(k, k).to_owned();
            g.for_each(
                |i, j| j == k && i > k,
                |_, _, tile| solve_lower_triangular_in_place(diagonal.as_ref(), tile.transpose_mut(), Par::Seq),
            );
            let panel: Vec<_> = (k + 1..g.count()).map(|i| g.tile(i, k).to_owned()).collect();
            g.for_each(
                |_, j| j > k,
                |i, j, tile| {
                    let [left, right] = [i, j].map(|row| panel[row - k - 1].as_ref().as_dyn_stride());
                    update(tile, i == j, left, right.transpose(), -1.0);
                },
            );
            advance(g.rows(k).len());
        }
        Ok(Self(g))
    }

    /// Solves `L L^T x = b` in place of b: forward substitution, then backward.
    pub fn solve(&self, x: &mut Columns) {
        let l = &self.0;
        for k in 0..l.count() {
            x.for_each(|i| i == k, |_, b| solve_lower_triangular_in_place(l.tile(k, k), b, Par::Seq));
            let done = x.block(k).to_owned();
            x.for_each(|i| i > k, |i, b| product(b, Accum::Add, l.tile(i, k), done.as_ref().as_dyn_stride(), -1.0));
        }
        for k in (0..l.count()).rev() {
            let upper = l.tile(k, k).transpose();
            x.for_each(|i| i == k, |_, b| solve_upper_triangular_in_place(upper, b, Par::Seq));
            let done = x.block(k).to_owned();
            let done = done.as_ref().as_dyn_stride();
            x.for_each(|j| j < k, |j, b| product(b, Accum::Add, l.tile(k, j).transpose(), done, -1.0));
        }
    }

    /// The same for the transpose [C, m] of b.
    pub fn solve_transposed(&self, b: &mut [f64]) {
        let mut x = Columns::of(b, &self.0);
        self.solve(&mut x);
        b.copy_from_slice(&x.transposed());
    }

    /// Column `j` of the tiles of L^-1, from its diagonal down.
    fn inverse_column(&self, j: usize) -> Vec<Mat<f64>> {
        let l = &self.0;
        let cols = l.rows(j).len();
        let mut blocks: Vec<Mat<f64>> = Vec::new();
        for i in j..l.count() {
            let mut block = if i == j { Mat::identity(cols, cols) } else { Mat::zeros(l.rows(i).len(), cols) };
            for (k, above) in (j..i).zip(&blocks) {
                let above = above.as_ref().as_dyn_stride();
                product(block.as_mut().as_dyn_stride_mut(), Accum::Add, l.tile(i, k), above, -1.0);
            }
            solve_lower_triangular_in_place(l.tile(i, i), block.as_mut(), Par::Seq);
            blocks.push(block);
        }
        blocks
    }

    /// `tr (L L^T)^-1`, the sum of the squares of all entries of L^-1, which are found one column of tiles at a time.
    pub fn inverse_trace(&self) -> f64 {
        let column = |j: usize| self.inverse_column(j).iter().map(|block| block.squared_norm_l2()).sum::<f64>();
        // Collected first, so that the sum has one order.
        (0..self.0.count()).into_par_iter().with_max_len(1).map(column).collect::<Vec<_>>().iter().sum()
    }

    /// The lower triangle of L, row after row.
    pub fn packed(&self) -> Vec<f64> {
        self.0.pack().collect()
    }

    /// L^-1 [m, m] row after row.
    pub fn inverse(&self) -> Vec<f64> {
        let (l, m) = (&self.0, self.0.size());
        let mut inverse = vec![0.0; m * m];
        let columns: Vec<_> = (0..l.count()).into_par_iter().with_max_len(1).map(|j| self.inverse_column(j)).collect();
        for (j, blocks) in columns.iter().enumerate() {
            for (i, block) in (j..).zip(blocks) {
                for (r, row) in l.rows(i).enumerate() {
                    let out = &mut inverse[row * m..][l.rows(j)];
                    out.iter_mut().enumerate().for_each(|(c, x)| *x = block[(r, c)]);
                }
            }
        }
        inverse
    }
}
