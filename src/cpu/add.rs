//! Twin of `add`.

use rayon::prelude::*;

use crate::device::{Io, Real};

/// Elements that one job of an elementwise twin takes.
pub const CHUNK: usize = 1 << 14;

pub fn add<R: Real>(io: Io<'_, R>) {
    let x = io.real(0);
    let [y] = io.outs();
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
        vectorise!({
            for (y, x) in y.iter_mut().zip(x) {
                *y += *x;
            }
        });
    });
}
