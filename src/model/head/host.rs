//! The statistics in float64 on the host's cores.

use std::borrow::Cow;

use rayon::prelude::*;

use super::drift::HostMap;
use super::factor::{Columns, HostFactor, residual};
use super::tiles::{HostTiles, update};
use crate::linalg::matrix;
use crate::{Error, Result};

/// Residual at which refinement ends: what float64 reaches on a well-conditioned matrix.
const ENOUGH: f64 = 1e-12;
/// Residual above which a solution is refused.
const TOLERATED: f64 = 1e-6;
/// Steps of refinement at most.
const STEPS: usize = 3;
/// Classes that are solved together at least: products with fewer columns are slower for each.
const LEAST_SHARE: usize = 32;

/// G as tiles and Q^T [C, m].
#[derive(Clone, Debug)]
pub struct Host {
    features: usize,
    /// Whether every class has a Gram matrix of its own; their sum is G.
    pub by_class: bool,
    pub grams: Vec<HostTiles>,
    pub sums: Vec<f64>,
}

/// `g += scale p^T p` for p [B, m].
pub fn add_products(g: &mut HostTiles, p: &[f64], batch: usize, scale: f64) {
    let (m, side) = (g.size(), g.side());
    if batch == 0 {
        return;
    }
    let part = |i: usize| matrix(&p[i * side..], batch, side.min(m - i * side), m);
    g.for_each(|_, _| true, |i, j, tile| update(tile, i == j, part(i).transpose(), part(j), scale));
}

impl Host {
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(features: usize, by_class: bool) -> Result<Self> {
        let grams = if by_class { Vec::new() } else { vec![HostTiles::zeros(features)?] };
        Ok(Self { features, by_class, grams, sums: Vec::new() })
    }

    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn fork(&self) -> Result<Self> {
        let grams = self.grams.iter().map(HostTiles::fork).collect::<Result<_>>()?;
        Ok(Self { grams, sums: self.sums.clone(), ..*self })
    }

    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn widen(&mut self, classes: usize) -> Result<()> {
        let room = |n: usize| self.sums.try_reserve(n.saturating_sub(self.sums.len())).ok().map(|()| n);
        let numbers = classes.checked_mul(self.features).and_then(room);
        let lacking = || Error::OutOfMemory { during: format!("sums [{classes}, {}]", self.features) };
        self.sums.resize(numbers.ok_or_else(lacking)?, 0.0);
        while self.by_class && self.grams.len() < classes {
            self.grams.push(HostTiles::zeros(self.features)?);
        }
        Ok(())
    }

    /// Adds random features p [B, m] with labels below the number of classes.
    pub fn add(&mut self, p: &[f64], labels: &[u32]) {
        let m = self.features;
        let mut of_class = vec![Vec::new(); self.sums.len() / m];
        labels.iter().enumerate().for_each(|(i, &y)| of_class[y as usize].push(i));
        if self.by_class {
            for (gram, samples) in self.grams.iter_mut().zip(&of_class).filter(|(_, samples)| !samples.is_empty()) {
                let part: Vec<f64> = samples.iter().flat_map(|&i| &p[i * m..(i + 1) * m]).copied().collect();
                add_products(gram, &part, samples.len(), 1.0);
            }
        } else if !labels.is_empty() {
            add_products(&mut self.grams[0], p, labels.len(), 1.0);
        }
        self.sums.par_chunks_mut(m).zip(of_class).for_each(|(sum, samples)| {
            for i in samples {
                sum.iter_mut().zip(&p[i * m..]).for_each(|(q, x)| *q += x);
            }
        });
    }

    /// Adds other statistics, equally by class or not, whose class c is class `classes[c]` here.
    pub fn merge(&mut self, other: &Self, classes: &[usize]) {
        let m = self.features;
        for (c, gram) in other.grams.iter().enumerate() {
            self.grams[if self.by_class { classes[c] } else { 0 }].add(gram);
        }
        for (c, &class) in classes.iter().enumerate() {
            self.sums[class * m..][..m].iter_mut().zip(&other.sums[c * m..]).for_each(|(x, y)| *x += y);
        }
    }

    /// `G <- A^T G A`, of every class if they are kept by class, and `Q^T <- Q^T A`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], before anything has changed.
    pub fn compensate(&mut self, map: &HostMap) -> Result<()> {
        map.carry(&mut self.grams)?;
        let share = self.share();
        self.sums.par_chunks_mut(share).for_each(|sums| map.carry_sums(sums));
        Ok(())
    }

    /// Numbers of Q^T that a core takes at once. Classes are independent: cores that share them out wait for each other less
    /// than those that share tiles.
    fn share(&self) -> usize {
        let classes = self.sums.len() / self.features;
        classes.div_ceil(rayon::current_num_threads()).max(LEAST_SHARE) * self.features
    }

    /// Drops a class that has a Gram matrix of its own.
    pub fn forget(&mut self, class: usize) {
        self.grams.remove(class);
        self.sums.drain(class * self.features..(class + 1) * self.features);
    }

    /// The lower triangles of the Gram matrices, each row after row.
    pub fn pack(&self) -> Vec<f64> {
        self.grams.iter().flat_map(HostTiles::pack).collect()
    }

    /// Takes what [`Host::pack`] and `sums` gave, for as many classes as these have.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn unpack(&mut self, packed: &[f64], sums: &[f64]) -> Result<()> {
        self.sums.clear();
        if self.by_class {
            self.grams.clear();
        }
        self.widen(sums.len() / self.features)?;
        self.sums.copy_from_slice(sums);
        let size = self.features * (self.features + 1) / 2;
        self.grams.iter_mut().zip(packed.chunks(size)).for_each(|(gram, packed)| gram.unpack(packed));
        Ok(())
    }

    /// The number of random features, m.
    pub fn features(&self) -> usize {
        self.features
    }

    /// How many Gram matrices there are for so many classes.
    pub fn parts(&self, classes: usize) -> usize {
        if self.by_class { classes } else { 1 }
    }

    /// G.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn gram(&self) -> Result<Cow<'_, HostTiles>> {
        match self.grams.as_slice() {
            [] => Ok(Cow::Owned(HostTiles::zeros(self.features)?)),
            [one] => Ok(Cow::Borrowed(one)),
            [first, rest @ ..] => {
                let mut sum = first.fork()?;
                rest.iter().for_each(|gram| sum.add(gram));
                Ok(Cow::Owned(sum))
            }
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
        let gram = self.gram()?;
        let mut shifted = gram.fork()?;
        shifted.shift(gamma);
        let factor = HostFactor::new(shifted, advance)?;
        let scale = self.sums.iter().fold(f64::MIN_POSITIVE, |top, x| top.max(x.abs()));
        let share = self.share();
        let mut weights = vec![0.0; self.sums.len()];
        let parts = weights.par_chunks_mut(share).zip(self.sums.par_chunks(share));
        let error = parts.map(|(w, q)| {
            let (x, error) = refined(&gram, &factor, gamma, &Columns::of(q, &gram), scale);
            w.copy_from_slice(&x.transposed());
            error
        });
        let error = error.reduce(|| 0.0, worse);
        if error <= TOLERATED { Ok((weights, error)) } else { Err(Error::IllConditioned { residual: error }) }
    }
}

/// The larger one, NaN where there is one.
fn worse(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() { a } else { b }
}

/// `(G + gamma I)^-1 b` by the factor, refined, and its residual relative to `scale`.
fn refined(gram: &HostTiles, factor: &HostFactor, gamma: f64, b: &Columns, scale: f64) -> (Columns, f64) {
    let mut x = b.clone();
    factor.solve(&mut x);
    let mut missing = residual(gram, gamma, &x, b);
    let mut error = missing.largest() / scale;
    for _ in 0..STEPS {
        if error <= ENOUGH {
            break;
        }
        factor.solve(&mut missing);
        let mut better = x.clone();
        better.add(&missing);
        missing = residual(gram, gamma, &better, b);
        let reached = missing.largest() / scale;
        if reached >= error {
            break;
        }
        (x, error) = (better, reached);
    }
    (x, error)
}
