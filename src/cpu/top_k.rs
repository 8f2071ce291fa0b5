//! Twin of `top_k`: jobs own rows.

use rayon::prelude::*;

use crate::device::{Io, Real, Twin};
use crate::kernels::top_k::TopK;

impl Twin for TopK<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let x = io.real(0);
        let [hot] = io.outs();
        let cols = self.x.cols();
        if hot.is_empty() {
            return;
        }
        let k = hot.len() / x.len();
        hot.par_chunks_exact_mut(k * cols).zip(x.par_chunks_exact(cols)).for_each(|(hot, x)| {
            hot.fill(R::of(0.0));
            for (i, value) in x.iter().enumerate() {
                let above = |(j, other): (usize, &R)| other > value || other == value && j < i;
                let larger = x.iter().enumerate().filter(|&entry| above(entry)).count();
                if larger < k {
                    hot[larger * cols + i] = R::of(1.0);
                }
            }
        });
    }
}
