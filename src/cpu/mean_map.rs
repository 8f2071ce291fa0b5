//! Twin of `mean_map`.

use rayon::prelude::*;

use crate::device::{Io, Real, Twin};
use crate::kernels::mean_map::MeanMap;

impl Twin for MeanMap<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (phi, omega, layout, e) = (io.real(0), io.real(1), self.layout, self.layout.e);
        let [out] = io.outs();
        // Rows of M, then b.
        out.par_chunks_mut(e).enumerate().for_each(|(r, out)| {
            out.fill(R::of(0.0));
            for (row, omega) in phi.chunks(layout.len()).zip(omega).take(self.modules) {
                for kind in 0..if self.plain { 2 } else { 1 } {
                    let at = if r < e { layout.w2() + (kind * e + r) * e } else { layout.b2() + kind * e };
                    out.iter_mut().zip(&row[at..]).for_each(|(sum, x)| *sum += *omega * *x);
                }
            }
        });
    }
}
