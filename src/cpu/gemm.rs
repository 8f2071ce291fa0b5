//! Twin of `gemm`: blocks through faer, the epilogue while a block is still in cache.

use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::{SharedMut, activation::activate, blocks};
use crate::device::{Io, Real, Twin};
use crate::kernels::gemm::{Activation, Gemm, Layout};

/// Elements of the block of the result that the epilogue finds in the second-level cache.
const BLOCK: usize = 1 << 16;

/// Rows of a job at most: they and the other operand's columns stay in the second-level cache.
const MOST_ROWS: usize = 528;

/// Rows of a job: as many as the cache allows, to repay packing the other operand, and as many jobs on every core. A sum
/// has one order in a job of any size, so that results do not depend on the number of cores.
fn job_rows(rows: usize) -> usize {
    let cores = rayon::current_num_threads();
    let jobs = cores * rows.div_ceil(cores * MOST_ROWS).max(1);
    rows.div_ceil(jobs).next_multiple_of(8).max(64)
}

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

impl Twin for Gemm<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let [m, n, k] = self.mnk;
        let (a, b) = (io.real(0), io.real(1));
        let mut next = 2;
        let mut optional = |present: bool| {
            present.then(|| {
                next += 1;
                io.real(next - 1)
            })
        };
        let (bias, residual) = (optional(self.bias.is_some()), optional(self.residual.is_some()));
        let mut outs = io.outs.into_iter().map(|o| match o {
            crate::device::Out::Real(x) => SharedMut::new(x),
            crate::device::Out::U32(_) => unreachable!("gemm writes reals"),
        });
        let (out, pre) = (outs.next().expect("out"), outs.next());
        if m == 0 || n == 0 {
            return;
        }
        let ranges = blocks(m, job_rows(m));
        let jobs: Vec<_> = (0..self.batch).flat_map(|z| ranges.iter().map(move |r| (z, r.clone()))).collect();
        let plain = bias.is_none() && residual.is_none() && pre.is_none() && self.activation == Activation::None;
        jobs.into_par_iter().for_each(|(z, rows)| {
            let at = self.out.offset + z * self.out.batch + rows.start * self.out.ld;
            let len = (rows.len() - 1) * self.out.ld + n;
            let (lhs, rhs) = (&a[self.a.offset + z * self.a.batch..], &b[self.b.offset + z * self.b.batch..]);
            let lhs = if self.layout == Layout::TN {
                matrix(&lhs[rows.start..], k, rows.len(), self.a.ld).transpose()
            } else {
                matrix(&lhs[rows.start * self.a.ld..], rows.len(), k, self.a.ld)
            };
            let bias = bias.map(|x| {
                let view = self.bias.expect("bias");
                &x[view.offset + z * view.batch..][..n]
            });
            // SAFETY: jobs own disjoint rows of `out` and `pre`.
            let dst = unsafe { out.slice(at, len) };
            for cols in blocks(if self.lower { n.min(rows.end) } else { n }, (BLOCK / rows.len()).next_multiple_of(64))
            {
                let rhs = if self.layout == Layout::NT {
                    matrix(&rhs[cols.start * self.b.ld..], cols.len(), k, self.b.ld).transpose()
                } else {
                    matrix(&rhs[cols.start..], k, cols.len(), self.b.ld)
                };
                let dst = &mut dst[cols.start..];
                let accum = if self.accumulate && plain { Accum::Add } else { Accum::Replace };
                let before = if self.accumulate && !plain { dst.to_vec() } else { Vec::new() };
                product(
                    matrix_mut(dst, rows.len(), cols.len(), self.out.ld),
                    accum,
                    lhs,
                    rhs,
                    R::of(self.alpha.into()),
                );
                if plain {
                    continue;
                }
                for i in 0..rows.len() {
                    let at = at + i * self.out.ld + cols.start;
                    let row = &mut dst[i * self.out.ld..][..cols.len()];
                    if let Some(bias) = bias {
                        row.iter_mut().zip(&bias[cols.start..]).for_each(|(x, b)| *x += *b);
                    }
                    if let Some(pre) = &pre {
                        // SAFETY: as above.
                        unsafe { pre.slice(at, cols.len()) }.copy_from_slice(row);
                    }
                    activate(self.activation, row);
                    if let Some(residual) = residual {
                        row.iter_mut().zip(&residual[at..]).for_each(|(x, r)| *x += *r);
                    }
                    if !before.is_empty() {
                        row.iter_mut().zip(&before[i * self.out.ld..]).for_each(|(x, b)| *x += *b);
                    }
                }
            }
        });
    }
}
