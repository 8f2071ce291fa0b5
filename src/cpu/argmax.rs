//! Twin of `argmax`.

use rayon::prelude::*;

use crate::device::{Io, Real, Twin};
use crate::kernels::argmax::ArgMax;

impl Twin for ArgMax<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let x = io.real(0);
        let out = io.out_ints();
        out.par_iter_mut().zip(x.par_chunks_exact(self.x.cols())).for_each(|(out, x)| {
            *out = (1..x.len()).fold(0, |best, i| if x[i] > x[best] { i } else { best }) as u32;
        });
    }
}
