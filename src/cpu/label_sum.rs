//! Twin of `label_sum`: jobs own blocks of columns.

use rayon::prelude::*;

use super::{BlockMut, two_sum};
use crate::device::{Io, Real, Twin};
use crate::kernels::label_sum::LabelSum;

/// Columns of a job.
const COLS: usize = 1024;

impl Twin for LabelSum<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (p, labels) = (io.real(0), io.ints(1));
        let [q] = io.outs();
        let (high, low) = q.split_at_mut(q.len() / 2);
        let (classes, cols) = (self.q.shape()[1], self.p.cols());
        let columns = |x| BlockMut::new(x, [classes, cols], cols).split_cols(COLS);
        let jobs: Vec<_> = columns(high).zip(columns(low)).zip((0..cols).step_by(COLS)).collect();
        jobs.into_par_iter().for_each(|((mut high, mut low), first)| {
            let known = labels.iter().enumerate().filter(|(_, label)| (**label as usize) < classes);
            for (row, &label) in known {
                let (high, low) = (high.row(label as usize), low.row(label as usize));
                let p = &p[row * cols + first..];
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
