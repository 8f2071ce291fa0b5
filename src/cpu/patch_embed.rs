//! Twin of `patch_embed`: the patches of an image as rows of a matrix, times the weight.

use faer::Accum;
use rayon::prelude::*;

use super::blocks;
use crate::device::{Io, Real, Twin};
use crate::kernels::patch_embed::PatchEmbed;
use crate::linalg::{matrix, matrix_mut, product};

/// Patches that one job takes.
const PATCHES: usize = 64;

impl Twin for PatchEmbed<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (images, weight) = (io.real(0), io.real(1));
        let prefix = self.prefix.map_or(&[][..], |_| io.real(2));
        let pos = io.real(2 + usize::from(self.prefix.is_some()));
        let [out] = io.outs();
        let ([_, c, h, w], p, d) = (self.image_shape(), self.patch, self.weight.cols());
        let (patches, special) = self.tokens();
        let (depth, across) = (c * p * p, w / p);
        let mut jobs = Vec::new();
        for (image, out) in out.chunks_mut((special + patches) * d).enumerate() {
            let (tokens, out) = out.split_at_mut(special * d);
            tokens.copy_from_slice(prefix);
            jobs.extend(blocks(patches, PATCHES).into_iter().zip(out.chunks_mut(PATCHES * d)).map(|job| (image, job)));
        }
        jobs.into_par_iter().for_each(|(image, (range, dst))| {
            let mut rows = Vec::with_capacity(range.len() * depth);
            for t in range.clone() {
                let corner = (t / across * w + t % across) * p;
                for (channel, i) in (0..c).flat_map(|channel| (0..p).map(move |i| (channel, i))) {
                    rows.extend_from_slice(&images[((image * c + channel) * h + i) * w + corner..][..p]);
                }
            }
            let (lhs, rhs) = (matrix(&rows, range.len(), depth, depth), matrix(weight, depth, d, d));
            product(matrix_mut(dst, range.len(), d, d), Accum::Replace, lhs, rhs, R::of(1.0));
            dst.iter_mut().zip(&pos[range.start * d..]).for_each(|(out, pos)| *out += *pos);
        });
    }
}
