//! Twin of `patch_embed`: the patches of an image as rows of a matrix, times the weight.

use faer::Accum;
use rayon::prelude::*;

use super::gemm::{matrix, matrix_mut, product};
use super::{SharedMut, blocks};
use crate::device::{Io, Real, Twin};
use crate::kernels::patch_embed::PatchEmbed;

/// Patches that one job takes.
const PATCHES: usize = 64;

impl Twin for PatchEmbed<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let [images, weight, bias, cls] = [0, 1, 2, 3].map(|i| io.real(i));
        let registers = self.registers.map_or(&[][..], |_| io.real(4));
        let pos = io.real(4 + usize::from(self.registers.is_some()));
        let [out] = io.outs();
        let ([b, c, h, w], p, d) = (self.image_shape(), self.patch, self.weight.cols());
        let (patches, special) = (self.tokens().0, 1 + self.tokens().1);
        let (depth, across) = (c * p * p, w / p);
        let out = SharedMut::new(out);
        let token = |image: usize, token: usize| (image * (special + patches) + token) * d;
        for image in 0..b {
            // SAFETY: no other slice of `out` is live.
            let (first, rest) = unsafe { out.slice(token(image, 0), special * d) }.split_at_mut(d);
            first.iter_mut().zip(cls).zip(pos).for_each(|((out, cls), pos)| *out = *cls + *pos);
            rest.copy_from_slice(registers);
        }
        let ranges = blocks(patches, PATCHES);
        let jobs: Vec<_> = (0..b).flat_map(|image| ranges.iter().map(move |r| (image, r.clone()))).collect();
        jobs.into_par_iter().for_each(|(image, range)| {
            let mut rows = Vec::with_capacity(range.len() * depth);
            for t in range.clone() {
                let corner = (t / across * w + t % across) * p;
                for (channel, i) in (0..c).flat_map(|channel| (0..p).map(move |i| (channel, i))) {
                    rows.extend_from_slice(&images[((image * c + channel) * h + i) * w + corner..][..p]);
                }
            }
            // SAFETY: jobs own disjoint tokens.
            let dst = unsafe { out.slice(token(image, special + range.start), range.len() * d) };
            let (lhs, rhs) = (matrix(&rows, range.len(), depth, depth), matrix(weight, depth, d, d));
            product(matrix_mut(dst, range.len(), d, d), Accum::Replace, lhs, rhs, R::of(1.0));
            for (dst, pos) in dst.chunks_exact_mut(d).zip(pos[(1 + range.start) * d..].chunks_exact(d)) {
                dst.iter_mut().zip(bias).zip(pos).for_each(|((out, bias), pos)| *out += *bias + *pos);
            }
        });
    }
}
