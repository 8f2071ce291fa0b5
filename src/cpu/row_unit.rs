//! Twin of `row_unit`.

use rayon::prelude::*;

use super::layernorm::{BLOCK, sum_pairs};
use crate::device::{Io, Out, Real, Twin};
use crate::kernels::row_unit::{LEAST, RowUnit};

impl Twin for RowUnit<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let x = io.real(0);
        let mut outs = io.outs.into_iter().map(|o| match o {
            Out::Real(x) => x,
            Out::U32(_) => unreachable!("row_unit writes reals"),
        });
        let (y, norms) = (outs.next().expect("y"), outs.next().unwrap_or_default());
        let cols = self.x.cols();
        if cols == 0 {
            return;
        }
        let rows = (BLOCK / cols).max(1);
        // Where norms are not kept every block of rows has none.
        let norms = norms.chunks_mut(rows).chain(std::iter::repeat_with(<&mut [R]>::default));
        let jobs: Vec<_> = y.chunks_mut(rows * cols).zip(x.chunks(rows * cols)).zip(norms).collect();
        jobs.into_par_iter().for_each(|((y, x), norms)| {
            let mut norms = norms.iter_mut();
            for (y, x) in y.chunks_exact_mut(cols).zip(x.chunks_exact(cols)) {
                let mut norm = R::of(LEAST);
                vectorise!({
                    norm = Real::max(Real::sqrt(sum_pairs(x, x, |x, _| x * x)), norm);
                    for (y, x) in y.iter_mut().zip(x) {
                        *y = *x / norm;
                    }
                });
                if let Some(kept) = norms.next() {
                    *kept = norm;
                }
            }
        });
    }
}
