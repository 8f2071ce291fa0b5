//! Twin of `inner_product`.

use super::layernorm::sum_pairs;
use crate::device::{Io, Real, Twin};
use crate::kernels::inner_product::InnerProduct;

impl Twin for InnerProduct<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (x, y) = (io.real(0), io.real(1));
        let [out] = io.outs();
        let total = R::of(self.factor) * vectorise!(sum_pairs(x, y, |x, y| x * y));
        out[self.slot] = if self.accumulate { out[self.slot] + total } else { total };
    }
}
