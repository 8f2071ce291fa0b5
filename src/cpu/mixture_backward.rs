//! Twin of `mixture_backward`.

use crate::device::{Io, Real};
use crate::kernels::mixture_backward::MixtureBackward;

pub fn mixture_backward<R: Real>(k: &MixtureBackward<'_>, io: Io<'_, R>) {
    let (partials, omega) = (io.real(0), &io.real(1)[k.offset()..]);
    let [out] = io.outs();
    let out = &mut out[k.offset()..][..k.modules()];
    out.fill(R::of(0.0));
    for row in partials.chunks(k.modules()) {
        out.iter_mut().zip(row).for_each(|(sum, x)| *sum += *x);
    }
    let mean: R = out.iter().zip(omega).map(|(d, w)| *d * *w).sum();
    out.iter_mut().zip(omega).for_each(|(d, w)| *d = *w * (*d - mean));
}
