//! Cholesky factorisation and solve of the CPU device, by faer with all cores.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltError, cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::{MatMut, MatRef, Par};

use crate::device::{Io, Real};

/// Factors the lower triangle of g [m, m] in place; a bad pivot goes to info `[2]` as (column, pivot).
pub fn factor<R: Real>(m: usize, io: Io<'_, R>) {
    let [g, info] = io.outs();
    let par = Par::rayon(0);
    let mut buffer = MemBuffer::new(cholesky_in_place_scratch::<R>(m, par, Default::default()));
    let view = MatMut::from_row_major_slice_mut(g, m, m);
    let done = cholesky_in_place(view, Default::default(), par, MemStack::new(&mut buffer), Default::default());
    if let Err(LltError::NonPositivePivot { index }) = done {
        info[0] = R::of(index as f64);
        // The pivot is left where it was found.
        info[1] = g[index * m + index];
    }
}

/// Solves `x L L^T = b` for every row of x [rows, m] in place.
pub fn solve<R: Real>(m: usize, io: Io<'_, R>) {
    let l = MatRef::from_row_major_slice(io.real(0), m, m);
    let [x] = io.outs();
    let rows = x.len() / m.max(1);
    // One right-hand side a column.
    let mut x = MatMut::from_column_major_slice_mut(x, m, rows);
    let par = Par::rayon(0);
    solve_lower_triangular_in_place(l, x.as_mut(), par);
    solve_upper_triangular_in_place(l.transpose(), x.as_mut(), par);
}
