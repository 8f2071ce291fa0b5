//! Twin of `cross_entropy`.

use rayon::prelude::*;

use super::layernorm::sum_pairs;
use crate::device::{Io, Real, Twin};
use crate::kernels::cross_entropy::CrossEntropy;

impl Twin for CrossEntropy<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (logits, labels) = (io.real(0), io.ints(1));
        let [loss, dlogits] = io.outs();
        if logits.is_empty() {
            return;
        }
        let cols = self.logits.cols();
        let share = R::of(1.0) / R::of(self.batch as f64);
        let rows = dlogits.par_chunks_exact_mut(cols).zip(logits.par_chunks_exact(cols)).zip(labels);
        let losses: Vec<R> = rows
            .map(|((d, x), &label)| {
                if label as usize >= cols {
                    d.fill(R::of(0.0));
                    return R::of(0.0);
                }
                let largest = x.iter().fold(x[0], |a, b| Real::max(a, *b));
                let mut sum = share;
                vectorise!({
                    for (d, x) in d.iter_mut().zip(x) {
                        *d = Real::exp(*x - largest);
                    }
                    sum = sum_pairs(d, d, |d, _| d);
                    for d in d.iter_mut() {
                        *d = *d / sum * share;
                    }
                });
                let label = label as usize;
                d[label] -= share;
                Real::ln(sum) + (largest - x[label])
            })
            .collect();
        let sum = losses.into_iter().sum::<R>() * share;
        loss[self.slot] = if self.accumulate { loss[self.slot] + sum } else { sum };
    }
}
