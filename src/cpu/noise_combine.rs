//! Twin of `noise_combine`.

use rayon::prelude::*;

use super::{SharedMut, vectorise};
use crate::device::{Io, Out, Real};
use crate::kernels::noise_combine::{Direction, NoiseCombine, groups};

/// Rows of a job.
const ROWS: usize = 64;

pub fn noise_combine<R: Real>(k: &NoiseCombine<'_>, io: Io<'_, R>) {
    let (maps, weight) = (io.real(0), io.real(1)[k.module]);
    let eps = k.eps.map(|_| io.real(2));
    let (e, ld, sigma) = (k.e, k.maps.cols(), k.sigma());
    // One row of z = mu + eps s.
    let row_of_z = |row: usize, z: &mut [R]| {
        let (mu, s) = maps[row * ld..][..ld].split_at(e);
        match eps {
            Some(eps) => {
                let eps = &eps[row * e..][..e];
                (0..e).for_each(|j| z[j] = mu[j] + eps[j] * s[j]);
            }
            None if sigma => (0..e).for_each(|j| z[j] = mu[j] + s[j]),
            None => z.copy_from_slice(mu),
        }
    };
    match k.direction {
        Direction::Forward { keep, .. } => {
            let [mixed] = io.outs();
            mixed.par_chunks_mut(ROWS * e).enumerate().for_each(|(i, mixed)| {
                let mut z = vec![R::of(0.0); e];
                vectorise(
                    #[inline(always)]
                    || {
                        for (row, mixed) in mixed.chunks_mut(e).enumerate() {
                            row_of_z(i * ROWS + row, &mut z);
                            if keep {
                                (0..e).for_each(|j| mixed[j] += weight * z[j]);
                            } else {
                                (0..e).for_each(|j| mixed[j] = weight * z[j]);
                            }
                        }
                    },
                );
            });
        }
        Direction::Backward { .. } => {
            let dz = io.real(2 + usize::from(k.eps.is_some()));
            let mut outs = io.outs.into_iter().map(|o| match o {
                Out::Real(x) => x,
                Out::U32(_) => unreachable!("noise_combine writes reals"),
            });
            let (dmaps, domega) = (outs.next().expect("dmaps"), outs.next().expect("domega"));
            // The partial sums of this pass stand in the first groups of the GPU's; the others stay zero.
            let n = groups(k.maps.rows(), e);
            (0..n).for_each(|group| domega[group * k.modules + k.module] = R::of(0.0));
            let domega = SharedMut::new(domega);
            let job = (k.maps.rows().div_ceil(n)).max(ROWS);
            dmaps.par_chunks_mut(job * ld).enumerate().for_each(|(i, dmaps)| {
                let (mut z, mut columns) = (vec![R::of(0.0); e], vec![R::of(0.0); e]);
                vectorise(
                    #[inline(always)]
                    || {
                        for (row, dmaps) in dmaps.chunks_mut(ld).enumerate() {
                            let row = i * job + row;
                            row_of_z(row, &mut z);
                            let dz = &dz[row * e..][..e];
                            let (dmu, ds) = dmaps.split_at_mut(e);
                            for j in 0..e {
                                columns[j] += dz[j] * z[j];
                                dmu[j] = weight * dz[j];
                            }
                            match eps {
                                Some(eps) => (0..ds.len()).for_each(|j| ds[j] = dmu[j] * eps[row * e + j]),
                                None => (0..ds.len()).for_each(|j| ds[j] = dmu[j]),
                            }
                        }
                    },
                );
                // SAFETY: jobs own disjoint rows.
                let to = unsafe { domega.slice(i * k.modules + k.module, 1) };
                to[0] = columns.iter().copied().sum();
            });
        }
    }
}
