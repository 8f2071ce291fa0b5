//! Twin of `square_sum`: jobs own blocks.

use rayon::prelude::*;

use super::layernorm::sum_pairs;
use crate::device::{Io, Real, Twin};
use crate::kernels::square_sum::{BLOCK, SquareSum};

impl Twin for SquareSum<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let x = io.real(0);
        let [partials] = io.outs();
        partials[self.slot..].par_iter_mut().zip(x.par_chunks(BLOCK)).for_each(|(sum, x)| {
            vectorise!(*sum = sum_pairs(x, x, |x, _| x * x));
        });
    }
}
