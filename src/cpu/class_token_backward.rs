//! Twin of `class_token_backward`.

use rayon::prelude::*;

use crate::device::{Io, Real, Twin};
use crate::kernels::class_token_backward::ClassTokenBackward;

impl Twin for ClassTokenBackward<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let dy = io.real(0);
        let [dx] = io.outs();
        let &[_, tokens, cols] = self.dx.shape() else { unreachable!("tokens have shape [b, tokens, d]") };
        if !dx.is_empty() {
            dx.par_chunks_exact_mut(tokens * cols).zip(dy.par_chunks_exact(cols)).for_each(|(image, dy)| {
                image[..cols].copy_from_slice(dy);
                image[cols..].fill(R::of(0.0));
            });
        }
    }
}
