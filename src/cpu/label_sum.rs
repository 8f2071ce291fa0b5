//! Twin of `label_sum`: jobs own blocks of columns.

use rayon::prelude::*;

use super::{SharedMut, blocks, two_sum};
use crate::device::{Io, Real, Twin};
use crate::kernels::label_sum::LabelSum;

impl Twin for LabelSum<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (p, labels) = (io.real(0), io.ints(1));
        let [q] = io.outs();
        let (high, low) = q.split_at_mut(q.len() / 2);
        let (high, low) = (SharedMut::new(high), SharedMut::new(low));
        let (classes, cols) = (self.q.shape()[1], self.p.cols());
        blocks(cols, 1024).into_par_iter().for_each(|block| {
            let known = labels.iter().enumerate().filter(|(_, label)| (**label as usize) < classes);
            for (row, &label) in known {
                let at = label as usize * cols + block.start;
                // SAFETY: jobs own disjoint columns, and the slices of the last row are gone.
                let (high, low) = unsafe { (high.slice(at, block.len()), low.slice(at, block.len())) };
                let p = &p[row * cols..][block.clone()];
                vectorise!({
                    for ((high, low), p) in high.iter_mut().zip(low).zip(p) {
                        let (sum, error) = two_sum(*high, *p);
                        *high = sum;
                        *low += error;
                    }
                });
            }
        });
    }
}
