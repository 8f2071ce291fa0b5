//! Twin of `mixture_backward`.

use crate::device::{Io, Real, Twin};
use crate::kernels::mixture_backward::MixtureBackward;

impl Twin for MixtureBackward<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (partials, omega) = (io.real(0), &io.real(1)[self.offset()..]);
        let [out] = io.outs();
        let out = &mut out[self.offset()..][..self.modules()];
        out.fill(R::of(0.0));
        for row in partials.chunks(self.modules()) {
            out.iter_mut().zip(row).for_each(|(sum, x)| *sum += *x);
        }
        let mean: R = out.iter().zip(omega).map(|(d, w)| *d * *w).sum();
        out.iter_mut().zip(omega).for_each(|(d, w)| *d = *w * (*d - mean));
    }
}
