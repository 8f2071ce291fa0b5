//! Twin of `activation_backward`.

use rayon::prelude::*;

use super::activation::gelu_grad;
use super::add::CHUNK;
use super::vectorise;
use crate::device::{Io, Real};
use crate::kernels::activation_backward::ActivationBackward;
use crate::kernels::gemm::Activation;

pub fn activation_backward<R: Real>(k: &ActivationBackward<'_>, io: Io<'_, R>) {
    let (saved, dy) = (io.real(0), io.real(1));
    let [dx] = io.outs();
    let gelu = k.activation == Activation::Gelu;
    let zero = R::of(0.0);
    dx.par_chunks_mut(CHUNK).zip(saved.par_chunks(CHUNK)).zip(dy.par_chunks(CHUNK)).for_each(|((dx, saved), dy)| {
        let all = dx.iter_mut().zip(saved).zip(dy);
        vectorise(|| match gelu {
            true => all.for_each(|((dx, z), dy)| *dx = *dy * gelu_grad(*z)),
            false => all.for_each(|((dx, z), dy)| *dx = if *z > zero { *dy } else { zero }),
        });
    });
}
