//! Twin of `unpack_halves`.

use half::f16;
use rayon::prelude::*;

use crate::device::{Io, Real, Twin};
use crate::kernels::unpack_halves::UnpackHalves;

impl Twin for UnpackHalves<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let words = io.ints(0);
        let [out] = io.outs();
        out.par_chunks_mut(2).zip(words).for_each(|(out, word)| {
            let halves = [*word as u16, (*word >> 16) as u16];
            out.iter_mut().zip(halves).for_each(|(x, bits)| *x = R::of(f16::from_bits(bits).to_f32().into()));
        });
    }
}
