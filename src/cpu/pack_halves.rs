//! Twin of `pack_halves`.

use half::f16;
use rayon::prelude::*;

use crate::device::{Io, Real, Twin};
use crate::kernels::pack_halves::PackHalves;

impl Twin for PackHalves<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let x = io.real(0);
        let bits = |x: &R| u32::from(f16::from_f32((x.get() as f32).clamp(-65_504.0, 65_504.0)).to_bits());
        let words = io.out_ints();
        words.par_iter_mut().zip(x.par_chunks(2)).for_each(|(word, pair)| {
            *word = bits(&pair[0]) | pair.get(1).map_or(0, bits) << 16;
        });
    }
}
