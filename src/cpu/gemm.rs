//! Twin of `gemm`: blocks through faer, the epilogue while a block is still in cache.

use faer::Accum;
use rayon::prelude::*;

use super::{BlockMut, activation::activate, blocks};
use crate::device::{Io, Out, Real, Twin};
use crate::kernels::gemm::{Activation, Gemm, Layout};
use crate::linalg::{matrix, product};

/// Elements of the block of the result that the epilogue finds in the second-level cache.
const BLOCK: usize = 1 << 16;

/// Rows of a job at most: they and the other operand's columns stay in the second-level cache.
const MOST_ROWS: usize = 528;

/// Multiply-adds of a job at least, and rows: what is smaller takes other ways through faer, in which sums have another order.
const LEAST: [usize; 2] = [1 << 17, 64];

/// Rows of a job: as many as the cache allows, to repay packing the other operand, and as many jobs on every core. A sum
/// has one order in all of these jobs, so that results do not depend on the number of cores.
fn job_rows([m, n, k]: [usize; 3]) -> usize {
    let cores = rayon::current_num_threads();
    let jobs = cores * m.div_ceil(cores * MOST_ROWS).max(1);
    let least = LEAST[0].div_ceil((n * k).max(1)).max(LEAST[1]);
    without_crumbs(m, m.div_ceil(jobs).max(least).next_multiple_of(8), least)
}

/// `size`, or so many eights more that no block of `0..n` is smaller than `least`.
fn without_crumbs(n: usize, mut size: usize, least: usize) -> usize {
    while (1..least).contains(&(n % size)) && size < n {
        size += 8;
    }
    size
}

/// The matrices that a product writes into `x`.
fn results<'a, R: Real>(g: &Gemm<'_>, x: Out<'a, R>) -> impl Iterator<Item = BlockMut<'a, R>> {
    let Out::Real(x) = x else { unreachable!("gemm writes reals") };
    let [m, n, _] = g.mnk;
    BlockMut::batch(&mut x[g.out.offset..], [m, n], g.out.ld, [g.batch, g.out.batch]).into_iter()
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
        let plain = bias.is_none() && residual.is_none() && self.pre.is_none() && self.activation == Activation::None;
        if m == 0 || n == 0 {
            return;
        }
        let size = job_rows(self.mnk);
        let mut outs = io.outs.into_iter().map(|x| results(self, x).flat_map(move |result| result.split_rows(size)));
        let out: Vec<_> = outs.next().expect("out").collect();
        let pre: Vec<_> = match outs.next() {
            Some(pre) => pre.map(Some).collect(),
            None => out.iter().map(|_| None).collect(),
        };
        let jobs: Vec<_> = (0..self.batch).flat_map(|z| blocks(m, size).into_iter().map(move |r| (z, r))).collect();
        jobs.into_par_iter().zip(out).zip(pre).for_each(|(((z, rows), mut out), mut pre)| {
            let at = self.out.offset + z * self.out.batch + rows.start * self.out.ld;
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
            let needed = if self.lower { n.min(rows.end) } else { n };
            let least = LEAST[0].div_ceil((rows.len() * k).max(1));
            let width = without_crumbs(needed, (BLOCK / rows.len()).next_multiple_of(64), least);
            for cols in blocks(needed, width) {
                let rhs = if self.layout == Layout::NT {
                    matrix(&rhs[cols.start * self.b.ld..], cols.len(), k, self.b.ld).transpose()
                } else {
                    matrix(&rhs[cols.start..], k, cols.len(), self.b.ld)
                };
                let mut dst = out.cols(cols.clone());
                let accum = if self.accumulate && plain { Accum::Add } else { Accum::Replace };
                let before: Vec<R> = if self.accumulate && !plain {
                    (0..rows.len()).flat_map(|i| dst.row(i).to_vec()).collect()
                } else {
                    Vec::new()
                };
                product(dst.matrix(), accum, lhs, rhs, R::of(self.alpha.into()));
                if plain {
                    continue;
                }
                for i in 0..rows.len() {
                    let row = dst.row(i);
                    if let Some(bias) = bias {
                        row.iter_mut().zip(&bias[cols.start..]).for_each(|(x, b)| *x += *b);
                    }
                    if let Some(pre) = &mut pre {
                        pre.row(i)[cols.clone()].copy_from_slice(row);
                    }
                    activate(self.activation, row);
                    if let Some(residual) = residual {
                        let at = at + i * self.out.ld + cols.start;
                        row.iter_mut().zip(&residual[at..]).for_each(|(x, r)| *x += *r);
                    }
                    if !before.is_empty() {
                        row.iter_mut().zip(&before[i * cols.len()..]).for_each(|(x, b)| *x += *b);
                    }
                }
            }
        });
    }
}
