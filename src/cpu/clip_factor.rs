//! Twin of `clip_factor`.

use super::layernorm::sum_pairs;
use crate::device::{Io, Real, Twin};
use crate::kernels::clip_factor::{ClipFactor, EPS};

impl Twin for ClipFactor<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let partials = &io.real(0)[..self.n];
        let [clip] = io.outs();
        let norm = Real::sqrt(vectorise!(sum_pairs(partials, partials, |x, _| x)));
        let (factor, one) = (R::of(self.most) / (norm + R::of(EPS)), R::of(1.0));
        clip[0] = if factor < one { factor } else { one };
        clip[1] = norm;
    }
}
