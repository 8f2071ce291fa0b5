//! Twin of `rotary`: one token at a time.

use rayon::prelude::*;

use crate::device::{Io, Real, Twin};
use crate::kernels::rotary::Rotary;

impl Twin for Rotary<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let table = io.real(0);
        let [x] = io.outs();
        let (sizes, prefix) = (self.sizes(), self.prefix());
        let (dim, width) = (sizes.dim, sizes.width());
        if width == 0 {
            return;
        }
        let sign = R::of(if self.inverse { -1.0 } else { 1.0 });
        x.par_chunks_exact_mut(3 * width).enumerate().for_each(|(row, qkv)| {
            let Some(patch) = (row % self.tokens).checked_sub(prefix) else { return };
            let (cos, sin) = table[patch * dim..][..dim].split_at(dim / 2);
            vectorise!({
                for head in qkv[..2 * width].chunks_exact_mut(dim) {
                    let (left, right) = head.split_at_mut(dim / 2);
                    for (((a, b), c), s) in left.iter_mut().zip(right).zip(cos).zip(sin) {
                        let s = sign * *s;
                        (*a, *b) = (*a * *c - *b * s, *b * *c + *a * s);
                    }
                }
            });
        });
    }
}
