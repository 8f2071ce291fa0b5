//! Twin of `dropout`: jobs own the elements of some neighbouring blocks of words.

use rayon::prelude::*;

use super::philox::{LANES, words};
use crate::device::{Io, Real, Twin};
use crate::kernels::dropout::Dropout;

/// Elements of a job.
const SIZE: usize = 4 * LANES;
/// Jobs that one thread takes at least.
const JOBS: usize = 16;

impl Twin for Dropout<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let x = io.real(0);
        let [y] = io.outs();
        let (block, skip) = (self.first() / 4, self.first() as usize % 4);
        let (threshold, factor, zero) = (self.threshold(), R::of(self.factor()), R::of(0.0));
        // The first elements of the first block are none of these.
        let (head, rest) = y.split_at_mut(y.len().min(SIZE - skip));
        let jobs: Vec<_> = std::iter::once(head).chain(rest.chunks_mut(SIZE)).collect();
        jobs.into_par_iter().enumerate().with_min_len(JOBS).for_each(|(job, y)| {
            let (start, lead) = if job == 0 { (0, skip) } else { (job * SIZE - skip, 0) };
            let x = &x[start..][..y.len()];
            vectorise!({
                let words = words(self.stream, block.wrapping_add((job * LANES) as u32));
                for (i, (y, x)) in y.iter_mut().zip(x).enumerate() {
                    let at = lead + i;
                    let value = if words[at % 4][at / 4] < threshold { zero } else { factor * *x };
                    *y = if self.accumulate { *y + value } else { value };
                }
            });
        });
    }
}
