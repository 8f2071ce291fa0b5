//! The statistics in float64 on the host's cores.

use rayon::prelude::*;

use super::factor::{Columns, Factor, residual};
use super::tiles::{Tiles, update};
use crate::cpu::gemm::matrix;
use crate::{Error, Result};

/// Residual at which refinement ends: what float64 reaches on a well-conditioned matrix.
const ENOUGH: f64 = 1e-12;
/// Residual above which a solution is refused.
const TOLERATED: f64 = 1e-6;
/// Steps of refinement at most.
const STEPS: usize = 3;

/// G as tiles and Q^T [C, m].
#[derive(Debug)]
pub struct Host {
    pub gram: Tiles,
    pub sums: Vec<f64>,
}

impl Host {
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(m: usize) -> Result<Self> {
        Ok(Self { gram: Tiles::zeros(m)?, sums: Vec::new() })
    }

    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn fork(&self) -> Result<Self> {
        Ok(Self { gram: self.gram.fork()?, sums: self.sums.clone() })
    }

    pub fn widen(&mut self, classes: usize) {
        self.sums.resize(classes * self.gram.size(), 0.0);
    }

    /// Adds random features p [B, m] with labels below the number of classes.
    pub fn add(&mut self, p: &[f64], labels: &[u32]) {
        let (m, side, batch) = (self.gram.size(), self.gram.side(), labels.len());
        let rows = |i: usize| (i * side, side.min(m - i * side));
        let part = |i: usize| {
            let (start, len) = rows(i);
            matrix(&p[start..], batch, len, m)
        };
        if batch == 0 {
            return;
        }
        self.gram.for_each(|_, _| true, |i, j, tile| update(tile, i == j, part(i).transpose(), part(j), 1.0));
        let mut of_class = vec![Vec::new(); self.sums.len() / m];
        labels.iter().enumerate().for_each(|(i, &y)| of_class[y as usize].push(i));
        self.sums.par_chunks_mut(m).zip(of_class).for_each(|(sum, samples)| {
            for i in samples {
                sum.iter_mut().zip(&p[i * m..]).for_each(|(q, x)| *q += x);
            }
        });
    }

    /// Adds other statistics, whose row r of Q^T belongs to row `rows[r]`.
    pub fn merge(&mut self, other: &Self, rows: &[usize]) {
        let m = self.gram.size();
        self.gram.add(&other.gram, 1.0);
        for (r, &row) in rows.iter().enumerate() {
            self.sums[row * m..][..m].iter_mut().zip(&other.sums[r * m..]).for_each(|(x, y)| *x += y);
        }
    }

    /// `W^T = Q^T (G + gamma I)^-1` [C, m] and its residual, the largest entry of `Q - (G + gamma I) W` relative to that
    /// of Q. Where the residual of the factor's solution is not yet that of a well-conditioned matrix, it is refined
    /// (Higham, Accuracy and Stability of Numerical Algorithms, 12).
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`], [`Error::IllConditioned`], [`Error::OutOfMemory`].
    pub fn solve(&self, gamma: f64, advance: &mut dyn FnMut(usize)) -> Result<(Vec<f64>, f64)> {
        if self.sums.is_empty() {
            return Ok((Vec::new(), 0.0));
        }
        let mut shifted = self.gram.fork()?;
        shifted.shift(gamma);
        let factor = Factor::new(shifted, advance)?;
        let b = Columns::of(&self.sums, &self.gram);
        let scale = b.largest().max(f64::MIN_POSITIVE);
        let mut x = b.clone();
        factor.solve(&mut x);
        let mut missing = residual(&self.gram, gamma, &x, &b);
        let mut error = missing.largest() / scale;
        for _ in 0..STEPS {
            if error <= ENOUGH {
                break;
            }
            factor.solve(&mut missing);
            let mut better = x.clone();
            better.add(&missing);
            missing = residual(&self.gram, gamma, &better, &b);
            let reached = missing.largest() / scale;
            if reached >= error {
                break;
            }
            (x, error) = (better, reached);
        }
        if error <= TOLERATED { Ok((x.transposed(), error)) } else { Err(Error::IllConditioned { residual: error }) }
    }
}
