//! Twin of `glu`.

use rayon::prelude::*;

use super::activation::{gelu, silu_with_slope};
use crate::device::{Io, Real, Twin};
use crate::kernels::glu::{Gate, Glu};

impl Twin for Glu<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let u = io.real(0);
        let [out] = io.outs();
        let cols = self.out.cols();
        if out.is_empty() {
            return;
        }
        out.par_chunks_exact_mut(cols).zip(u.par_chunks_exact(2 * cols)).for_each(|(out, u)| {
            let (a, b) = u.split_at(cols);
            let all = out.iter_mut().zip(a).zip(b);
            vectorise!(match self.gate {
                Gate::Silu => {
                    for ((out, a), b) in all {
                        *out = silu_with_slope(*a).0 * *b;
                    }
                }
                Gate::Gelu => {
                    for ((out, a), b) in all {
                        *out = gelu(*a) * *b;
                    }
                }
            });
        });
    }
}
