//! Matrices in float64 whose columns are worked on by the strip.

use faer::{MatMut, MatRef};
use rayon::prelude::*;

use crate::model::head::tiles::SIDE;
use crate::{Error, Result};

/// Columns that are transposed at once: a cache line of each row.
const LINE: usize = 8;

/// A matrix [rows, cols] in float64, column-major. Its strips of as many columns as tiles have are worked on in parallel.
#[derive(Debug)]
pub(super) struct Strips {
    pub data: Vec<f64>,
    pub rows: usize,
    pub cols: usize,
}

pub(super) fn columns(strip: &[f64], rows: usize) -> MatRef<'_, f64> {
    MatRef::from_column_major_slice(strip, rows, strip.len() / rows).as_dyn_stride()
}

pub(super) fn columns_mut(strip: &mut [f64], rows: usize) -> MatMut<'_, f64> {
    let cols = strip.len() / rows;
    MatMut::from_column_major_slice_mut(strip, rows, cols).as_dyn_stride_mut()
}

impl Strips {
    /// The zero matrix; neither size is 0.
    pub fn zeros(rows: usize, cols: usize) -> Result<Self> {
        let data = rows.checked_mul(cols).and_then(|numbers| bytemuck::try_zeroed_vec(numbers).ok());
        Ok(Self { data: data.ok_or_else(|| out_of_memory(rows, cols))?, rows, cols })
    }

    pub fn side(&self) -> usize {
        SIDE.min(self.cols)
    }

    pub fn count(&self) -> usize {
        self.cols.div_ceil(self.side())
    }

    pub fn all(&self) -> MatRef<'_, f64> {
        columns(&self.data, self.rows)
    }

    pub fn slice(&self, j: usize) -> &[f64] {
        let size = self.side() * self.rows;
        &self.data[j * size..self.data.len().min((j + 1) * size)]
    }

    pub fn strip(&self, j: usize) -> MatRef<'_, f64> {
        columns(self.slice(j), self.rows)
    }

    /// Calls `work(j, strip)` for every strip, on all cores.
    pub fn for_each(&mut self, work: impl Fn(usize, &mut [f64]) + Sync) {
        let size = self.side() * self.rows;
        self.data.par_chunks_mut(size).enumerate().with_max_len(1).for_each(|(j, strip)| work(j, strip));
    }

    /// Which strips have an entry that is not 0.
    pub fn present(&self) -> Vec<bool> {
        (0..self.count()).into_par_iter().map(|j| self.slice(j).iter().any(|&x| x != 0.0)).collect()
    }

    /// Takes the row-major `batch` as the rows from `start` on.
    pub fn put(&mut self, start: usize, batch: &[f64]) {
        let (rows, cols) = (self.rows, self.cols);
        self.data.par_chunks_mut(LINE * rows).enumerate().for_each(|(k, columns)| {
            for (row, sample) in (start..).zip(batch.chunks(cols)) {
                columns.chunks_mut(rows).zip(&sample[k * LINE..]).for_each(|(column, x)| column[row] = *x);
            }
        });
    }
}

pub(super) fn out_of_memory(rows: usize, cols: usize) -> Error {
    Error::OutOfMemory { during: format!("features [{rows}, {cols}] of a drift") }
}
