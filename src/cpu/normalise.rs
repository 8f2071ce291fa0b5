//! Twin of `normalise`.

use rayon::prelude::*;

use crate::device::{Io, Real, Twin};
use crate::kernels::normalise::Normalise;

impl Twin for Normalise<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (words, table) = (io.ints(0), io.real(1));
        let [out] = io.outs();
        if out.is_empty() {
            return;
        }
        let (plane, channels) = (self.plane(), self.channels());
        out.par_chunks_exact_mut(plane).enumerate().for_each(|(k, out)| {
            let table = &table[256 * (k % channels)..][..256];
            for (i, out) in out.iter_mut().enumerate() {
                let byte = plane * k + i;
                *out = table[(words[byte / 4] >> (8 * (byte % 4)) & 255) as usize];
            }
        });
    }
}
