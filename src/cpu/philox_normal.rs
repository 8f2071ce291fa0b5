//! Twin of `philox_normal`.

use rayon::prelude::*;

use super::philox::{LANES, rows, words};
use crate::device::{Io, Real, Twin};
use crate::kernels::philox_normal::PhiloxNormal;

/// Rows of a job.
const ROWS: usize = 64;

impl Twin for PhiloxNormal<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        if self.raw() {
            return raw(self, io.out_ints());
        }
        let ([out], e) = (io.outs(), self.out.cols());
        out.par_chunks_mut(ROWS * e).enumerate().for_each_init(Vec::new, |scratch, (i, out)| {
            rows(self.stream, i * ROWS, [out.len() / e, self.d2, e], scratch, out);
        });
    }
}

/// The random words, block after block.
fn raw(k: &PhiloxNormal<'_>, out: &mut [u32]) {
    let before = k.stream.first_row * (k.d2 / 4) as u32;
    for (i, chunk) in out.chunks_mut(4 * LANES).enumerate() {
        let x = words(k.stream, before + (i * LANES) as u32);
        chunk.iter_mut().enumerate().for_each(|(i, to)| *to = x[i % 4][i / 4]);
    }
}
