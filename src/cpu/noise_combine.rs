//! Twin of `noise_combine`.

use rayon::prelude::*;

use crate::device::{Io, Out, Real, Twin};
use crate::kernels::noise_combine::{Direction, NoiseCombine, partial_rows};

/// Rows of a job.
const ROWS: usize = 64;

/// z of one row from its (mu | s), or one of them.
#[inline(always)]
fn sample<R: Real>(maps: &[R], eps: Option<&[R]>, z: &mut [R]) {
    let (mu, s) = maps.split_at(z.len());
    match eps {
        Some(eps) if s.is_empty() => (0..z.len()).for_each(|j| z[j] = eps[j] * mu[j]),
        Some(eps) => (0..z.len()).for_each(|j| z[j] = mu[j] + eps[j] * s[j]),
        None if s.is_empty() => z.copy_from_slice(mu),
        None => (0..z.len()).for_each(|j| z[j] = mu[j] + s[j]),
    }
}

impl Twin for NoiseCombine<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        match self.direction {
            Direction::Forward { keep, .. } => forward(self, io, keep),
            Direction::Backward { scores, .. } => backward(self, io, scores.is_some()),
        }
    }
}

fn forward<R: Real>(k: &NoiseCombine<'_>, io: Io<'_, R>, keep: bool) {
    let (weight, eps, e) = (io.real(0)[k.module], k.eps.map(|_| io.real(1)), k.e);
    let (maps, ld) = (io.real(1 + usize::from(eps.is_some())), k.maps().cols());
    let [mixed] = io.outs();
    mixed.par_chunks_mut(ROWS * e).enumerate().for_each(|(i, mixed)| {
        let mut z = vec![R::of(0.0); e];
        vectorise!({
            for (row, mixed) in (i * ROWS..).zip(mixed.chunks_mut(e)) {
                sample(&maps[row * ld..][..ld], eps.map(|eps| &eps[row * e..][..e]), &mut z);
                if keep {
                    for (mixed, z) in mixed.iter_mut().zip(&z) {
                        *mixed += weight * *z;
                    }
                } else {
                    for (mixed, z) in mixed.iter_mut().zip(&z) {
                        *mixed = weight * *z;
                    }
                }
            }
        });
    });
}

fn backward<R: Real>(k: &NoiseCombine<'_>, io: Io<'_, R>, scores: bool) {
    let (weight, eps, e) = (io.real(0)[k.module], k.eps.map(|_| io.real(1)), k.e);
    let next = 1 + usize::from(eps.is_some());
    let maps = scores.then(|| io.real(next));
    let dz = io.real(next + usize::from(scores));
    let (rows, ld) = (k.maps().rows(), k.maps().cols());
    let mut outs = io.outs.into_iter().map(|o| match o {
        Out::Real(x) => x,
        Out::U32(_) => unreachable!("noise_combine writes reals"),
    });
    let (dmaps, domega) = (outs.next().expect("dmaps"), outs.next());
    // There are as many partial sums as the GPU has workgroups; jobs write the first ones, the others stay zero.
    let n = partial_rows(rows, e);
    let mut sums: Vec<_> =
        domega.unwrap_or_default().chunks_exact_mut(k.modules).map(|row| &mut row[k.module]).collect();
    sums.iter_mut().for_each(|sum| **sum = R::of(0.0));
    let mut sums = sums.into_iter();
    let job = rows.div_ceil(n.max(1)).max(ROWS);
    let jobs: Vec<_> = dmaps.chunks_mut(job * ld).map(|dmaps| (dmaps, sums.next())).collect();
    jobs.into_par_iter().enumerate().for_each(|(i, (dmaps, sum))| {
        let (mut z, mut columns) = (vec![R::of(0.0); e], vec![R::of(0.0); e]);
        vectorise!({
            for (row, dmaps) in (i * job..).zip(dmaps.chunks_mut(ld)) {
                let (dz, eps) = (&dz[row * e..][..e], eps.map(|eps| &eps[row * e..][..e]));
                let (dmu, ds) = dmaps.split_at_mut(e);
                for (dmu, dz) in dmu.iter_mut().zip(dz) {
                    *dmu = weight * *dz;
                }
                match eps {
                    Some(eps) if ds.is_empty() => {
                        for (ds, eps) in dmu.iter_mut().zip(eps) {
                            *ds *= *eps;
                        }
                    }
                    Some(eps) => {
                        for ((ds, dmu), eps) in ds.iter_mut().zip(dmu).zip(eps) {
                            *ds = *dmu * *eps;
                        }
                    }
                    None => {
                        for (ds, dmu) in ds.iter_mut().zip(dmu) {
                            *ds = *dmu;
                        }
                    }
                }
                if let Some(maps) = maps {
                    sample(&maps[row * ld..][..ld], eps, &mut z);
                    for ((sum, dz), z) in columns.iter_mut().zip(dz).zip(&z) {
                        *sum += *dz * *z;
                    }
                }
            }
        });
        if let Some(sum) = sum {
            *sum = columns.iter().copied().sum();
        }
    });
}
