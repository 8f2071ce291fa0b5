//! Twin of `copy_block`: jobs own some short rows or a part of a long one.

use rayon::prelude::*;

use super::BlockMut;
use super::add::CHUNK;
use crate::device::{Io, Real, Twin};
use crate::kernels::copy_block::CopyBlock;

impl Twin for CopyBlock<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let data = io.real(0);
        let [updated] = io.outs();
        let &Self { x, out, rows, cols, accumulate, .. } = self;
        // An empty block may start behind the end.
        if rows == 0 || cols == 0 {
            return;
        }
        let factor = R::of(self.factor);
        let (height, parts) = ((CHUNK / cols).max(1), cols.div_ceil(CHUNK));
        let blocks = BlockMut::new(&mut updated[out.offset..], [rows, cols], out.ld).split_rows(height);
        let jobs: Vec<_> = blocks.flat_map(|block| block.split_cols(CHUNK)).collect();
        jobs.into_par_iter().enumerate().for_each(|(job, mut block)| {
            let (first, col) = (job / parts * height, job % parts * CHUNK);
            for i in 0..block.rows() {
                let out = block.row(i);
                let x = &data[x.offset + (first + i) * x.ld + col..][..out.len()];
                vectorise!({
                    for (out, x) in out.iter_mut().zip(x) {
                        *out = if accumulate { *out + factor * *x } else { factor * *x };
                    }
                });
            }
        });
    }
}
