//! Twin of `label_sum`: jobs own blocks of columns.

use rayon::prelude::*;

use super::{SharedMut, blocks};
use crate::device::{Io, Real};
use crate::kernels::label_sum::LabelSum;

pub fn label_sum<R: Real>(k: &LabelSum<'_>, io: Io<'_, R>) {
    let (p, labels) = (io.real(0), io.ints(1));
    let [q] = io.outs();
    let q = SharedMut::new(q);
    let cols = k.p.cols();
    blocks(cols, 1024).into_par_iter().for_each(|block| {
        for (row, &label) in labels.iter().enumerate() {
            // SAFETY: jobs own disjoint columns, and the slice of the last row is gone.
            let sum = unsafe { q.slice(label as usize * cols + block.start, block.len()) };
            let p = &p[row * cols..][block.clone()];
            vectorise!({
                for (q, p) in sum.iter_mut().zip(p) {
                    *q += *p;
                }
            });
        }
    });
}
