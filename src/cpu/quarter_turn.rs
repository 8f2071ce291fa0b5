//! Twin of `quarter_turn`: jobs own planes.

use rayon::prelude::*;

use crate::device::{Io, Real, Twin};
use crate::kernels::quarter_turn::QuarterTurn;

impl Twin for QuarterTurn<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let (x, turns) = (io.real(0), io.ints(1));
        let [out] = io.outs();
        if out.is_empty() {
            return;
        }
        let (channels, side) = (self.channels(), self.x.cols());
        let size = side * side;
        out.par_chunks_exact_mut(size).zip(x.par_chunks_exact(size)).enumerate().for_each(|(plane, (out, x))| {
            let (turn, last) = (turns[plane / channels] & 3, side - 1);
            for (i, row) in out.chunks_exact_mut(side).enumerate() {
                for (j, out) in row.iter_mut().enumerate() {
                    let (row, col) = match turn {
                        0 => (i, j),
                        1 => (j, last - i),
                        2 => (last - i, last - j),
                        _ => (last - j, i),
                    };
                    *out = x[row * side + col];
                }
            }
        });
    }
}
