//! Twin of `class_token`.

use crate::device::{Io, Real, Twin};
use crate::kernels::class_token::ClassToken;

/// Too few bytes move for threads to pay.
impl Twin for ClassToken<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let x = io.real(0);
        let [out] = io.outs();
        let &[_, tokens, cols] = self.x.shape() else { unreachable!("tokens have shape [b, tokens, d]") };
        if !out.is_empty() {
            let images = x.chunks_exact(tokens * cols);
            out.chunks_exact_mut(cols).zip(images).for_each(|(out, image)| out.copy_from_slice(&image[..cols]));
        }
    }
}
