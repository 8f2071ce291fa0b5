//! Twin of `gemm`: row blocks through the `gemm` crate, the epilogue while a block is still in cache.

use gemm::Parallelism;
use rayon::prelude::*;

use super::{SharedMut, activation::activate, blocks};
use crate::device::{Io, Real};
use crate::kernels::gemm::{Activation, Gemm, Layout};

/// Bytes of a row block of the result: small enough to stay in the second-level cache.
const BLOCK_BYTES: usize = 256 << 10;

/// `dst[m, n] = alpha dst + beta lhs rhs` with (row, column) strides, on the calling thread.
///
/// # Safety
/// The strides must stay inside the allocations, and `dst` must not overlap the others.
pub unsafe fn product<R: Real>(
    [m, n, k]: [usize; 3],
    (dst, dst_rs, dst_cs): (*mut R, usize, usize),
    (lhs, lhs_rs, lhs_cs): (*const R, usize, usize),
    (rhs, rhs_rs, rhs_cs): (*const R, usize, usize),
    keep: bool,
    beta: R,
) {
    // SAFETY: the caller's promise.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst,
            dst_cs as isize,
            dst_rs as isize,
            keep,
            lhs,
            lhs_cs as isize,
            lhs_rs as isize,
            rhs,
            rhs_cs as isize,
            rhs_rs as isize,
            R::of(1.0),
            beta,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

pub fn gemm<R: Real>(g: &Gemm<'_>, io: Io<'_, R>) {
    let [m, n, k] = g.mnk;
    let (a, b) = (io.real(0), io.real(1));
    let mut next = 2;
    let mut optional = |present: bool| {
        present.then(|| {
            next += 1;
            io.real(next - 1)
        })
    };
    let (bias, residual) = (optional(g.bias.is_some()), optional(g.residual.is_some()));
    let mut outs = io.outs.into_iter().map(|o| match o {
        crate::device::Out::Real(x) => SharedMut::new(x),
        crate::device::Out::U32(_) => unreachable!("gemm writes reals"),
    });
    let (out, pre) = (outs.next().expect("out"), outs.next());
    if m == 0 || n == 0 {
        return;
    }
    let (a_rs, a_cs) = if g.layout == Layout::TN { (1, g.a.ld) } else { (g.a.ld, 1) };
    let (b_rs, b_cs) = if g.layout == Layout::NT { (1, g.b.ld) } else { (g.b.ld, 1) };
    let ranges = blocks(m, (BLOCK_BYTES / (n * size_of::<R>())).clamp(16, 256));
    let jobs: Vec<_> = (0..g.batch).flat_map(|z| ranges.iter().map(move |r| (z, r.clone()))).collect();
    let plain = bias.is_none() && residual.is_none() && pre.is_none() && g.activation == Activation::None;
    jobs.into_par_iter().for_each(|(z, rows)| {
        let cols = if g.lower { n.min(rows.end) } else { n };
        let at = g.out.offset + z * g.out.batch + rows.start * g.out.ld;
        let len = (rows.len() - 1) * g.out.ld + n;
        let (lhs, rhs) = (&a[g.a.offset + z * g.a.batch + rows.start * a_rs..], &b[g.b.offset + z * g.b.batch..]);
        // SAFETY: jobs own disjoint rows of `out` and `pre`.
        let dst = unsafe { out.slice(at, len) };
        let keep = g.accumulate && plain;
        let (before, kept): (Vec<R>, bool) =
            if g.accumulate && !plain { (dst.to_vec(), true) } else { (Vec::new(), false) };
        // SAFETY: `dst` holds the rows; a and b reach from these offsets to the last element of the product.
        unsafe {
            product(
                [rows.len(), cols, k],
                (dst.as_mut_ptr(), g.out.ld, 1),
                (lhs.as_ptr(), a_rs, a_cs),
                (rhs.as_ptr(), b_rs, b_cs),
                keep,
                R::of(g.alpha.into()),
            );
        }
        if plain {
            return;
        }
        let bias_row = bias.map(|x| {
            let view = g.bias.expect("bias");
            &x[view.offset + z * view.batch..][..n]
        });
        for i in 0..rows.len() {
            let row = &mut dst[i * g.out.ld..][..n];
            if let Some(bias) = bias_row {
                row.iter_mut().zip(bias).for_each(|(x, b)| *x += *b);
            }
            if let Some(pre) = &pre {
                // SAFETY: as above.
                unsafe { pre.slice(at + i * g.out.ld, n) }.copy_from_slice(row);
            }
            activate(g.activation, row);
            if let Some(residual) = residual {
                row.iter_mut().zip(&residual[at + i * g.out.ld..]).for_each(|(x, r)| *x += *r);
            }
            if kept {
                row.iter_mut().zip(&before[i * g.out.ld..]).for_each(|(x, b)| *x += *b);
            }
        }
    });
}
