//! Twin of `fma_chains`.

use rayon::prelude::*;

use crate::device::{Io, Real, Twin};
use crate::kernels::fma_chains::FmaChains;

/// Elements whose chains run side by side: twice as many chains are 6 vectors of 512 bits or 12 of 256, which hide the
/// latency of a step and leave registers for factor and term.
const LANES: usize = 48;
/// Elements that one job takes.
const JOB: usize = 16 * LANES;

/// The chains of `LANES` elements.
#[inline(always)]
fn chains<R: Real>(x: &[R; LANES], steps: usize, [factor, term]: [R; 2]) -> [R; LANES] {
    let (mut p, mut q) = (*x, *x);
    for q in &mut q {
        *q += R::of(1.0);
    }
    for _ in 0..steps {
        for p in &mut p {
            *p = Real::mul_add(*p, factor, term);
        }
        for q in &mut q {
            *q = Real::mul_add(*q, factor, term);
        }
    }
    for (p, q) in p.iter_mut().zip(q) {
        *p += q;
    }
    p
}

impl Twin for FmaChains<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let x = io.real(0);
        let [y] = io.outs();
        let steps = self.rounds * FmaChains::ROUND;
        let map = [self.factor, self.term].map(|v| R::of(v.into()));
        y.par_chunks_mut(JOB).zip(x.par_chunks(JOB)).for_each(|(y, x)| {
            vectorise!({
                for (y, x) in y.chunks_mut(LANES).zip(x.chunks(LANES)) {
                    let mut lanes = [R::of(0.0); LANES];
                    lanes[..x.len()].copy_from_slice(x);
                    y.copy_from_slice(&chains(&lanes, steps, map)[..x.len()]);
                }
            });
        });
    }
}
