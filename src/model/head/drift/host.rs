//! The map of a drift in float64 on the host's cores.

mod strips;

use faer::{Accum, Mat, MatRef};
use rayon::prelude::*;

use crate::algorithms::drift::{HELD_OUT, MOST_HELD_OUT, by_products, is_held_out, period};
use crate::linalg::{matrix, product};
use crate::model::head::factor::HostFactor;
use crate::model::head::host::add_products;
use crate::model::head::tiles::{HostTiles, update};
use crate::{Error, Result};
use strips::{Strips, columns, columns_mut, out_of_memory};

/// Random features of a task's images before and after the network learned the task, P_o and P_n [n, m], on their way into
/// a [`HostMap`]. Where n < m they are kept, 16 n m bytes; else their products are summed, 12 m^2 bytes.
#[derive(Debug)]
pub struct HostDrift {
    features: usize,
    samples: usize,
    /// Samples that were added.
    seen: usize,
    lambda: f64,
    /// The last of so many samples is held out.
    period: usize,
    gathered: Gathered,
}

#[derive(Debug)]
enum Gathered {
    /// P_o and P_n - P_o [n, m].
    Samples { before: Strips, change: Strips },
    /// `P_o^T P_o` and `P_o^T (P_n - P_o)` [m, m], and the rows of P_o and of P_n - P_o that are held out.
    Products { gram: HostTiles, cross: Strips, held_out: [Vec<f64>; 2] },
}

impl HostDrift {
    /// For n = `samples` images. `lambda` is relative to the mean of the diagonal of `P_o^T P_o`, 0.1 in SPEC.
    ///
    /// # Errors
    /// [`Error::Shape`] without features or samples, [`Error::OutOfMemory`].
    pub fn new(features: usize, samples: usize, lambda: f64) -> Result<Self> {
        Self::gathering(features, samples, lambda, by_products(samples, features))
    }

    fn gathering(features: usize, samples: usize, lambda: f64, products: bool) -> Result<Self> {
        if features == 0 || samples == 0 {
            return Err(Error::shape("drift", "P_o", "at least 1 row and column", [samples, features]));
        }
        let (period, gathered) = if products {
            let period = period(samples);
            let rows = samples / period;
            let mut held_out = [Vec::new(), Vec::new()];
            for part in &mut held_out {
                part.try_reserve_exact(rows * features).map_err(|_| out_of_memory(rows, features))?;
            }
            let (gram, cross) = (HostTiles::zeros(features)?, Strips::zeros(features, features)?);
            (period, Gathered::Products { gram, cross, held_out })
        } else {
            let (before, change) = (Strips::zeros(samples, features)?, Strips::zeros(samples, features)?);
            (HELD_OUT, Gathered::Samples { before, change })
        };
        Ok(Self { features, samples, seen: 0, lambda, period, gathered })
    }

    /// Adds a batch.
    ///
    /// # Shapes
    /// `before` and `after` [B, m], of the same images.
    ///
    /// # Errors
    /// [`Error::Shape`] where they are not, or where there are more samples than were announced.
    pub fn add(&mut self, before: &[f64], after: &[f64]) -> Result<()> {
        let m = self.features;
        let (rows, left) = (before.len() / m, self.samples - self.seen);
        if before.len() != rows * m || rows > left {
            return Err(Error::shape("drift", "before", format_args!("at most {left} rows of {m}"), before.len()));
        }
        if after.len() != before.len() {
            return Err(Error::shape("drift", "after", [rows, m], after.len()));
        }
        if rows == 0 {
            return Ok(());
        }
        let moved: Vec<f64> = after.iter().zip(before).map(|(new, old)| new - old).collect();
        match &mut self.gathered {
            Gathered::Samples { before: all, change } => {
                all.put(self.seen, before);
                change.put(self.seen, &moved);
            }
            Gathered::Products { gram, cross, held_out } => {
                add_products(gram, before, rows, 1.0);
                let (side, lhs) = (cross.side(), matrix(before, rows, m, m).transpose());
                cross.for_each(|j, strip| {
                    let dst = columns_mut(strip, m);
                    let rhs = matrix(&moved[j * side..], rows, dst.ncols(), m);
                    product(dst, Accum::Add, lhs, rhs, 1.0);
                });
                for i in (0..rows).filter(|i| is_held_out(self.seen + i, self.period)) {
                    held_out[0].extend_from_slice(&before[i * m..][..m]);
                    held_out[1].extend_from_slice(&moved[i * m..][..m]);
                }
            }
        }
        self.seen += rows;
        Ok(())
    }

    /// The map that fits all samples.
    ///
    /// # Errors
    /// [`Error::Shape`] where samples are missing; [`Error::NotPositiveDefinite`] where P_o is not finite, or 0 and n < m;
    /// [`Error::OutOfMemory`].
    pub fn finish(self) -> Result<HostMap> {
        let Self { features, samples, seen, lambda, period, gathered } = self;
        if seen < samples {
            return Err(Error::shape("drift", "P_o", [samples, features], [seen, features]));
        }
        let (before, system, mut change, explained) = match gathered {
            Gathered::Samples { before, change } => {
                let mut system = HostTiles::zeros(samples)?;
                set_products(&mut system, &before, &before);
                let explained = explained_of_samples(&system, &change, lambda, period)?;
                (Some(before), system, change, explained)
            }
            Gathered::Products { gram, cross, held_out } => {
                let explained = explained_of_products(&gram, &cross, &held_out, lambda)?;
                (None, gram, cross, explained)
            }
        };
        let moved = change.present();
        if moved.contains(&true) {
            let factor = ridge(system, lambda, features)?;
            change.for_each(|j, strip| {
                if moved[j] {
                    factor.solve_transposed(strip);
                }
            });
        }
        Ok(HostMap { before, change, moved, explained })
    }
}

/// Sets a symmetric matrix [n, n] to `x y^T` for x and y [n, m].
fn set_products(to: &mut HostTiles, x: &Strips, y: &Strips) {
    let side = to.side();
    to.for_each(
        |_, _| true,
        |i, j, mut tile| {
            let lhs = x.all().subrows(i * side, tile.nrows());
            let rhs = y.all().subrows(j * side, tile.ncols()).transpose();
            tile.fill(0.0);
            update(tile, i == j, lhs, rhs, 1.0);
        },
    );
}

/// The factor of K + lambda I, for `P_o P_o^T` or `P_o^T P_o` as K: their traces are equal.
fn ridge(mut system: HostTiles, lambda: f64, features: usize) -> Result<HostFactor> {
    system.shift(lambda * system.trace() / features as f64);
    HostFactor::new(system, &mut |_| ())
}

/// `|E|^2` for E in strips, made where there is change.
fn square(change: &Strips, strip: impl Fn(usize, MatRef<'_, f64>) -> Mat<f64> + Sync) -> f64 {
    let strips = change.present().into_par_iter().enumerate().with_max_len(1).filter(|(_, present)| *present);
    // Collected first, so that the sum has one order.
    strips.map(|(j, _)| strip(j, change.strip(j)).squared_norm_l2()).collect::<Vec<_>>().iter().sum()
}

/// See [`HostMap::explained`], for K = P_o P_o^T and D = P_n - P_o. With h for rows that are held out and r for the others,
/// `E = D_h - K_hr (K_rr + lambda I)^-1 D_r`: the rows of one matrix times D, some at a time.
fn explained_of_samples(system: &HostTiles, change: &Strips, lambda: f64, period: usize) -> Result<f64> {
    let (n, m) = (change.rows, change.cols);
    let (held_out, rest): (Vec<usize>, Vec<usize>) = (0..n).partition(|&i| is_held_out(i, period));
    let of_column = |column: &[f64]| held_out.iter().map(|&i| column[i] * column[i]).sum::<f64>();
    let total = change.data.par_chunks(n).map(of_column).collect::<Vec<_>>().iter().sum::<f64>();
    if total == 0.0 {
        return Ok(0.0);
    }
    let mut kept = HostTiles::zeros(rest.len())?;
    kept.fill(0..rest.len(), |r, c| system.at(rest[r], rest[c]));
    let factor = ridge(kept, lambda, m)?;
    let between = |&h: &usize| rest.iter().map(move |&r| system.at(h.max(r), h.min(r)));
    let mut missed = 0.0;
    for held_out in held_out.chunks(MOST_HELD_OUT) {
        let mut weights: Vec<f64> = held_out.iter().flat_map(between).collect();
        factor.solve_transposed(&mut weights);
        let mut rows = vec![0.0; held_out.len() * n];
        for ((row, weights), &h) in rows.chunks_mut(n).zip(weights.chunks(rest.len())).zip(held_out) {
            row[h] = 1.0;
            rest.iter().zip(weights).for_each(|(&r, weight)| row[r] = -weight);
        }
        let rows = matrix(&rows, held_out.len(), n, n);
        missed += square(change, |_, strip| {
            let mut e = Mat::zeros(rows.nrows(), strip.ncols());
            product(e.as_mut().as_dyn_stride_mut(), Accum::Add, rows, strip, 1.0);
            e
        });
    }
    Ok(1.0 - missed / total)
}

/// The same for K = P_o^T P_o and C = P_o^T D. With `Z^T = P_h (K - P_h^T P_h + lambda I)^-1`,
/// `E = D_h - Z^T (C - P_h^T D_h)`.
fn explained_of_products(gram: &HostTiles, cross: &Strips, [p, d]: &[Vec<f64>; 2], lambda: f64) -> Result<f64> {
    let (m, side) = (cross.cols, cross.side());
    let rows = p.len() / m;
    let total = d.iter().map(|x| x * x).sum::<f64>();
    if total == 0.0 {
        return Ok(0.0);
    }
    let mut rest = gram.fork()?;
    add_products(&mut rest, p, rows, -1.0);
    let mut z = p.clone();
    ridge(rest, lambda, m)?.solve_transposed(&mut z);
    let (z, p) = (matrix(&z, rows, m, m), matrix(p, rows, m, m));
    // I + Z^T P_h^T
    let mut own = Mat::identity(rows, rows);
    product(own.as_mut().as_dyn_stride_mut(), Accum::Add, z, p.transpose(), 1.0);
    let own = own.as_ref().as_dyn_stride();
    let missed = square(cross, |j, strip| {
        let mut e = Mat::zeros(rows, strip.ncols());
        let d = matrix(&d[j * side..], rows, strip.ncols(), m);
        product(e.as_mut().as_dyn_stride_mut(), Accum::Add, own, d, 1.0);
        product(e.as_mut().as_dyn_stride_mut(), Accum::Add, z, strip, -1.0);
        e
    });
    Ok(1.0 - missed / total)
}

/// The linear map A [m, m] from random features before a task was learned to those after it, `P_n ~ P_o A`:
/// `A = I + P_o^T L` with `L = (P_o P_o^T + lambda I)^-1 (P_n - P_o)` [n, m], or where n >= m the equal `A = I + L` with
/// `L = (P_o^T P_o + lambda I)^-1 P_o^T (P_n - P_o)` [m, m].
#[derive(Debug)]
pub struct HostMap {
    /// P_o; of the second form none, where the identity stands in its place.
    before: Option<Strips>,
    /// L.
    change: Strips,
    /// Which strips of L are not 0. Features of a part of the network that does not learn stay where they are.
    moved: Vec<bool>,
    /// How much of the change of samples that are held out, every fourth and where n >= m at most 512, the map of all others
    /// explains: `1 - |P_n - P_o A|_F^2 / |P_n - P_o|_F^2`. 0 where they did not move, negative where no map is better than
    /// this.
    pub explained: f64,
}

impl HostMap {
    /// The number of random features, m.
    pub fn features(&self) -> usize {
        self.change.cols
    }

    /// `G <- A^T G A`. With `H = P_o G`, `S = H P_o^T` and `H' = H + S L / 2` this is `G + L^T H' + H'^T L`, because S is
    /// symmetric; P_o is I in the second form.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], before anything has changed.
    pub fn carry(&self, grams: &mut [HostTiles]) -> Result<()> {
        if !self.moved.contains(&true) {
            return Ok(());
        }
        let (change, n) = (&self.change, self.change.rows);
        let mut h = Strips::zeros(n, change.cols)?;
        let mut inner = self.before.as_ref().map(|_| HostTiles::zeros(n)).transpose()?;
        // A class without samples has nothing to move.
        for gram in grams.iter_mut().filter(|gram| gram.trace() != 0.0) {
            let s = match (&self.before, &mut inner) {
                (Some(before), Some(s)) => {
                    h.for_each(|j, strip| {
                        strip.fill(0.0);
                        let transposed = columns_mut(strip, n).transpose_mut();
                        gram.multiply(j, 0.0, |k| before.strip(k).transpose(), 1.0, transposed);
                    });
                    set_products(s, &h, before);
                    &*s
                }
                _ => {
                    h.data.par_chunks_mut(n).enumerate().for_each(|(c, column)| {
                        column.iter_mut().enumerate().for_each(|(r, x)| *x = gram.at(r.max(c), r.min(c)));
                    });
                    &*gram
                }
            };
            h.for_each(|j, strip| {
                if !self.moved[j] {
                    return;
                }
                let part = |k: usize| change.strip(j).subrows(s.rows(k).start, s.rows(k).len());
                for i in 0..s.count() {
                    let dst = columns_mut(strip, n).subrows_mut(s.rows(i).start, s.rows(i).len());
                    s.multiply(i, 0.0, part, 0.5, dst);
                }
            });
            gram.for_each(
                |i, j| self.moved[i] || self.moved[j],
                |i, j, mut tile| {
                    if self.moved[i] {
                        update(tile.as_mut(), i == j, change.strip(i).transpose(), h.strip(j), 1.0);
                    }
                    if self.moved[j] {
                        update(tile, i == j, h.strip(i).transpose(), change.strip(j), 1.0);
                    }
                },
            );
        }
        Ok(())
    }

    /// `Q^T <- Q^T A` for some rows of Q^T [C, m], on the calling thread.
    pub fn carry_sums(&self, sums: &mut [f64]) {
        // Read by columns, Q^T is Q.
        let q = columns(sums, self.change.cols);
        let inner = match &self.before {
            Some(before) => {
                let mut inner = Mat::zeros(before.rows, q.ncols());
                product(inner.as_mut().as_dyn_stride_mut(), Accum::Add, before.all(), q, 1.0);
                inner
            }
            None => q.to_owned(),
        };
        let (q, inner) = (columns_mut(sums, self.change.cols), inner.as_ref().as_dyn_stride());
        product(q, Accum::Add, self.change.all().transpose(), inner, 1.0);
    }
}

#[cfg(test)]
mod tests;
