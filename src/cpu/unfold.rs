//! Twin of `unfold`: jobs own images.

use rayon::prelude::*;

use crate::device::{Io, Real, Twin};
use crate::kernels::unfold::Unfold;

impl Twin for Unfold<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let images = io.real(0);
        let [out] = io.outs();
        let ([_, c, h, w], p) = (self.image_shape(), self.patch);
        let (depth, across) = (c * p * p, w / p);
        let tokens = self.front + self.patches();
        if out.is_empty() {
            return;
        }
        out.par_chunks_exact_mut(tokens * depth).zip(images.par_chunks_exact(c * h * w)).for_each(|(out, image)| {
            let (front, rows) = out.split_at_mut(self.front * depth);
            front.fill(R::of(0.0));
            for (t, row) in rows.chunks_exact_mut(depth).enumerate() {
                let corner = (t / across * w + t % across) * p;
                for (line, pixels) in row.chunks_exact_mut(p).enumerate() {
                    let (channel, i) = (line / p, line % p);
                    pixels.copy_from_slice(&image[(channel * h + i) * w + corner..][..p]);
                }
            }
        });
    }
}
