//! Twin of `mixture`.

use crate::device::{Io, Real, Twin};
use crate::kernels::mixture::MixtureSoftmax;

impl Twin for MixtureSoftmax<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let logits = io.real(0);
        let [omega] = io.outs();
        let n = self.modules().max(1);
        for (a, omega) in logits.chunks(n).zip(omega.chunks_mut(n)) {
            let top = a[1..].iter().fold(a[0], |top, x| Real::max(top, *x));
            omega.iter_mut().zip(a).for_each(|(omega, a)| *omega = Real::exp(*a - top));
            let sum: R = omega.iter().copied().sum();
            omega.iter_mut().for_each(|omega| *omega /= sum);
        }
    }
}
