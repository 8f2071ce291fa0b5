//! Matrices of the host, as faer sees them.

use faer::{Accum, MatMut, MatRef, Par};

use crate::device::Real;

/// The matrix of `rows` rows of `cols` elements at the start of a slice, rows `ld` apart.
pub fn matrix<R>(x: &[R], rows: usize, cols: usize, ld: usize) -> MatRef<'_, R> {
    MatRef::from_row_major_slice_with_stride(x, rows, cols, ld).as_dyn_stride()
}

/// As [`matrix`], to be written.
pub fn matrix_mut<R>(x: &mut [R], rows: usize, cols: usize, ld: usize) -> MatMut<'_, R> {
    // Not `from_row_major_slice_with_stride_mut`, which in faer 0.24.4 mixes up rows and columns.
    MatMut::from_column_major_slice_with_stride_mut(x, cols, rows, ld).transpose_mut().as_dyn_stride_mut()
}

/// `dst = [dst +] scale lhs rhs` on the calling thread.
pub fn product<R: Real>(dst: MatMut<'_, R>, accum: Accum, lhs: MatRef<'_, R>, rhs: MatRef<'_, R>, scale: R) {
    faer::linalg::matmul::matmul(dst, accum, lhs, rhs, scale, Par::Seq);
}
