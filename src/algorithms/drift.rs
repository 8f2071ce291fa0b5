//! Drift compensation on a GPU: the linear map from random features before a task was learned to those after it, and what
//! it does to statistics in pairs (SPEC section 9.4).
//!
//! With P_o and P_n [n, m] the features before and after, `A = I + M` and `M = P_o^T (P_o P_o^T + lambda I)^-1 (P_n - P_o)`;
//! where n >= m the equal `M = (P_o^T P_o + lambda I)^-1 P_o^T (P_n - P_o)`. Then `G <- A^T G A` and `Q <- A^T Q`.
//!
//! Which sums are pairs, with u = 2^-24 and k^2 the condition number of the system, at most m / ridge:
//! - The system must be: its rounding errors reach M as k^2 u, 1e-3 and more. So are the right-hand sides of the second form,
//!   whose errors reach M as k u. A factor in single precision is refined by conjugate gradients in pairs ([`System`]).
//! - The solution may be rounded to single precision. Of the first form that reaches `M = P_o^T L` as k u, because L is that
//!   much larger than M, and the plain sums of this product add as much again; k is at most 200 for 4096 features and a ridge
//!   of 0.1.
//! - All this makes another map, by far less than the ridge does. What follows is not so forgiving. `A^T G A` has no negative
//!   eigenvalue for whatever A; the errors of its own sums can make some, which gamma must cover, and a classifier of
//!   condition number 1e7 sees them enlarged that much. So `T = G A` and `A^T T` are sums of pairs: products of first parts
//!   with M are off by 2e-9 ([`Gram`](crate::kernels::gram::Gram)); second parts are u of these, and plain sums of their
//!   products with M off by u^2. So is Q. It is M that G is multiplied by, of the first form too: P_o^T and L one after the
//!   other would be off by k times as much, for little gain unless n is far below m.
//! - What the map explains is a share that is read to a few digits: plain.

mod explained;
mod map;
mod parts;

use std::ops::Range;

use crate::algorithms::products::{Place, Transpose, add_products, symmetric};
use crate::algorithms::ridge::System;
use crate::algorithms::tiles::{Tiles, side};
use crate::device::{Device, Tensor};
use crate::kernels::copy_block::CopyBlock;
use crate::kernels::gemm::{Gemm, Layout, Mat};
use crate::kernels::gram::SAMPLES;
use crate::kernels::jacobi_scale::JacobiScale;
use crate::{Error, Result};
pub use map::Map;
use parts::{Part, Strip, parts, strips};

/// One of so many samples is held out to judge the map by.
pub const HELD_OUT: usize = 4;
/// Samples that are held out at most where samples are kept for nothing else.
pub const MOST_HELD_OUT: usize = 512;

/// Whether a map of so many samples and features is found by their products P_o^T P_o [m, m], else by P_o P_o^T [n, n].
pub fn by_products(samples: usize, features: usize) -> bool {
    samples >= features
}

/// How many samples apart those are that are held out, if few of `samples` are to be kept.
pub fn period(samples: usize) -> usize {
    HELD_OUT.max(samples.div_ceil(MOST_HELD_OUT))
}

/// Whether a sample is held out where one of `period` is.
pub fn is_held_out(sample: usize, period: usize) -> bool {
    sample % period == period - 1
}

/// Random features of a task's images before and after the network learned the task, on their way into a [`Map`]. Where
/// n < m they are kept, 4 n m bytes and 4 n for each feature that moves; else their products are summed, 4 m^2 bytes and
/// 8 m for each feature that moves.
#[derive(Debug)]
pub struct Drift {
    device: Device,
    transpose: Transpose,
    features: usize,
    /// Features before the first that moves.
    still: usize,
    parts: Vec<Part>,
    /// That of the tiles.
    side: usize,
    samples: usize,
    /// Samples that were added.
    seen: usize,
    /// The last of so many samples is held out.
    period: usize,
    ridge: f64,
    gathered: Gathered,
}

#[derive(Debug)]
enum Gathered {
    /// P_o^T [m, n], and (P_n - P_o)^T of the features that move.
    Samples { before: Vec<Strip>, change: Vec<Strip> },
    /// `P_o^T P_o` and `(P_n - P_o)^T P_o` in pairs, of the samples that are not held out; `[P_n - P_o | P_o]` of the others.
    Products { gram: Tiles, cross: Vec<Strip>, held_out: Tensor },
}

impl Drift {
    /// For n = `samples` images and features of which the first `still` do not move, and statistics in tiles of this side.
    /// `ridge` is lambda relative to the mean of the diagonal of `P_o^T P_o`.
    ///
    /// # Errors
    /// [`Error::Shape`] without samples or features that move; allocation failures.
    pub fn new(
        device: &Device,
        features: usize,
        still: usize,
        side: usize,
        samples: usize,
        ridge: f64,
    ) -> Result<Self> {
        if features <= still || samples == 0 {
            let expected = format_args!("at least 1 row and more than {still} columns");
            return Err(Error::shape("drift", "P_o", expected, [samples, features]));
        }
        let parts = parts(features, still, side);
        let moving = |part: &Part| part.moves;
        let (period, gathered) = if by_products(samples, features) {
            let gram = zeros(device, features, side)?;
            let cross = strips(device, &parts, moving, 2, features)?;
            let held_out = device.reals(&[samples / period(samples), 2 * features - still])?;
            (period(samples), Gathered::Products { gram, cross, held_out })
        } else {
            let before = strips(device, &parts, |_| true, 1, samples)?;
            let change = strips(device, &parts, moving, 1, samples)?;
            (HELD_OUT, Gathered::Samples { before, change })
        };
        let (transpose, device) = (Transpose::new(device)?, device.clone());
        Ok(Self { device, transpose, features, still, parts, side, samples, seen: 0, period, ridge, gathered })
    }

    /// In which order samples are to be added: those that are held out come last.
    pub fn order(&self) -> Vec<usize> {
        let (held_out, mut order): (Vec<_>, Vec<_>) =
            (0..self.samples).partition(|&sample| is_held_out(sample, self.period));
        order.extend(held_out);
        order
    }

    /// Samples that are not held out.
    fn fitted(&self) -> usize {
        self.samples - self.samples / self.period
    }

    /// Adds a batch.
    ///
    /// # Shapes
    /// `before` and `after` [B, m], of the same images.
    ///
    /// # Errors
    /// [`Error::Shape`] where they are not, or where there are more samples than were announced; device errors.
    pub fn add(&mut self, before: &Tensor, after: &Tensor) -> Result<()> {
        let (rows, left) = (before.rows(), self.samples - self.seen);
        if before.shape() != [rows, self.features] || rows > left {
            let expected = format_args!("at most {left} rows of {}", self.features);
            return Err(Error::shape("drift", "before", expected, before.shape()));
        }
        if after.shape() != before.shape() {
            return Err(Error::shape("drift", "after", before.shape(), after.shape()));
        }
        for start in (0..rows).step_by(SAMPLES) {
            let p = self.beside(before, after, start..rows.min(start + SAMPLES))?;
            self.gather(&p)?;
            self.seen += p.rows();
        }
        self.device.flush()
    }

    /// `[P_n - P_o | P_o]` of some rows.
    fn beside(&self, before: &Tensor, after: &Tensor, rows: Range<usize>) -> Result<Tensor> {
        let (m, moving) = (self.features, self.features - self.still);
        let p = self.device.reals(&[rows.len(), moving + m])?;
        let copy = |x, first: usize, to: usize, factor: f64| {
            let (x, out) = (Mat::at(x, rows.start * m + first, m), Mat::at(&p, to, moving + m));
            let accumulate = factor < 0.0;
            self.device.run(&CopyBlock { x, out, rows: rows.len(), cols: m - first, factor, accumulate })
        };
        copy(after, self.still, 0, 1.0)?;
        copy(before, self.still, 0, -1.0)?;
        copy(before, 0, moving, 1.0)?;
        Ok(p)
    }

    fn gather(&self, p: &Tensor) -> Result<()> {
        let (rows, width, moving) = (p.rows(), p.cols(), self.features - self.still);
        match &self.gathered {
            Gathered::Samples { before, change } => {
                let put = |strip: &Strip, first: usize| {
                    let out = Mat::at(&strip.data, self.seen, self.samples);
                    self.transpose.run(Mat::at(p, first, width), [rows, strip.len()], out)
                };
                before.iter().try_for_each(|strip| put(strip, moving + strip.features.start))?;
                change.iter().try_for_each(|strip| put(strip, strip.features.start - self.still))
            }
            Gathered::Products { gram, cross, held_out } => {
                let fitted = rows.min(self.fitted().saturating_sub(self.seen));
                add_products(&self.device, p, 0..fitted, &self.places(gram, cross))?;
                let to = (self.seen + fitted).saturating_sub(self.fitted());
                self.device.copy(p, fitted * width, held_out, to * width, (rows - fitted) * width)
            }
        }
    }

    /// Where the products of `[P_n - P_o | P_o]` go.
    fn places<'a>(&self, gram: &'a Tiles, cross: &'a [Strip]) -> Vec<Place<'a>> {
        let moving = self.features - self.still;
        let of = |strip: &'a Strip| Place { tile: &strip.data, row0: strip.features.start - self.still, col0: moving };
        symmetric(gram, moving).into_iter().chain(cross.iter().map(of)).collect()
    }

    /// The map that fits all samples.
    ///
    /// # Errors
    /// [`Error::Shape`] where samples are missing; [`Error::NotPositiveDefinite`] where P_o is 0 or not finite;
    /// [`Error::IllConditioned`]; device errors.
    pub async fn finish(mut self) -> Result<Map> {
        if self.seen < self.samples {
            let [expected, got] = [self.samples, self.seen].map(|n| [n, self.features]);
            return Err(Error::shape("drift", "P_o", expected, got));
        }
        let device = self.device.clone();
        let explained = explained::explained(&self).await?;
        let mut map = Map::new(&device, self.features, self.parts.clone())?;
        map.explained = explained;
        self.join()?;
        let products = self.products(self.samples)?;
        let shift = self.shift(&products).await?;
        let system = System::new(&device, &products, shift, &mut |_| ())?;
        for strip in self.take_strips() {
            let solution = system.solve(&self.sums(&strip)?).await?.weights;
            self.put(&map, &strip, &solution)?;
        }
        Ok(map)
    }

    /// Allocates and dispatches what [`Drift::finish`] does, and leaves a map of the same size. For plans, in a
    /// [capture](Device::capture): one tensor may stand for several.
    ///
    /// # Errors
    /// Those of plans.
    pub fn rehearse(mut self) -> Result<Map> {
        explained::rehearse(&self)?;
        let map = Map::new(&self.device, self.features, self.parts.clone())?;
        self.join()?;
        let products = self.products(self.samples)?;
        let _factor = Tiles::new(&self.device, products.size(), products.side(), 1)?;
        for (k, strip) in self.take_strips().into_iter().enumerate() {
            let sums = self.sums(&strip)?;
            let solution = self.device.reals(&[strip.len(), products.size()])?;
            if k == 0 {
                System::plan(&self.device, &products, &sums)?;
            }
            self.put(&map, &strip, &solution)?;
        }
        Ok(map)
    }

    /// Adds what was held out.
    fn join(&self) -> Result<()> {
        match &self.gathered {
            Gathered::Samples { .. } => Ok(()),
            Gathered::Products { gram, cross, held_out } => {
                add_products(&self.device, held_out, 0..held_out.rows(), &self.places(gram, cross))
            }
        }
    }

    /// `P_o P_o^T` of the first `samples`, or `P_o^T P_o` of those that are in it.
    fn products(&self, samples: usize) -> Result<Tiles> {
        match &self.gathered {
            Gathered::Samples { before, .. } => {
                let gram = zeros(&self.device, samples, self.side.min(side(samples)))?;
                for strip in before {
                    add_products(&self.device, &strip.data, 0..strip.len(), &symmetric(&gram, 0))?;
                }
                Ok(gram)
            }
            Gathered::Products { gram, .. } => Ok(gram.clone()),
        }
    }

    /// lambda for either form's products, whose traces are equal. The factor of 0 would be that of its own small shift.
    async fn shift(&self, products: &Tiles) -> Result<f64> {
        let trace = trace(&self.device, products).await?;
        if trace.is_finite() && trace > 0.0 {
            Ok(self.ridge * trace / self.features as f64)
        } else {
            Err(Error::NotPositiveDefinite { column: 0, pivot: trace })
        }
    }

    fn take_strips(&mut self) -> Vec<Strip> {
        match &mut self.gathered {
            Gathered::Samples { change: strips, .. } | Gathered::Products { cross: strips, .. } => {
                std::mem::take(strips)
            }
        }
    }

    /// Right-hand sides in pairs [2, features of the strip, size of the system].
    fn sums(&self, strip: &Strip) -> Result<Tensor> {
        match &self.gathered {
            Gathered::Samples { .. } => {
                let sums = self.device.zeros(&[2, strip.len(), self.samples])?;
                self.device.copy(&strip.data, 0, &sums, 0, strip.data.len())?;
                Ok(sums)
            }
            Gathered::Products { .. } => Ok(strip.data.clone()),
        }
    }

    /// Makes columns of M of the solutions L^T [features of the strip, n], or M^T [features of the strip, m].
    fn put(&self, map: &Map, strip: &Strip, solution: &Tensor) -> Result<()> {
        let (width, size) = (strip.len(), solution.cols());
        let column = strip.features.start - self.parts[strip.part].features.start;
        let out = |part: usize, row: usize| {
            let block = map.block(part, strip.part);
            Mat::at(block, row * block.cols() + column, block.cols())
        };
        match &self.gathered {
            Gathered::Samples { before, .. } => before.iter().try_for_each(|x| {
                let out = out(x.part, x.features.start - self.parts[x.part].features.start);
                let mnk = [x.len(), width, size];
                self.device.run(&Gemm::of(Layout::NT, mnk, Mat::of(&x.data), Mat::of(solution), out))
            }),
            Gathered::Products { .. } => self.parts.iter().enumerate().try_for_each(|(i, part)| {
                let x = Mat::at(solution, part.features.start, size);
                self.transpose.run(x, [width, part.features.len()], out(i, 0))
            }),
        }
    }
}

fn zeros(device: &Device, size: usize, side: usize) -> Result<Tiles> {
    let tiles = Tiles::new(device, size, side, 2)?;
    tiles.all().iter().try_for_each(|tile| device.clear(tile))?;
    Ok(tiles)
}

/// The sum of the diagonal of a matrix in pairs.
async fn trace(device: &Device, of: &Tiles) -> Result<f64> {
    let m = of.size();
    let (scale, diagonal) = (device.reals(&[m])?, device.reals(&[2, m])?);
    for i in 0..of.count() {
        let (tile, offset) = (of.tile(i, i), of.range(i).start);
        device.run(&JacobiScale { tile, gamma: 0.0, offset, scale: &scale, diagonal: &diagonal })?;
    }
    let (scale, diagonal) = (device.read::<f64>(&scale).await?, device.read::<f64>(&diagonal).await?);
    let (high, low) = diagonal.split_at(m);
    Ok(high.iter().zip(low).zip(scale).map(|((high, low), scale)| (high + low) / (scale * scale)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_samples_are_held_out() {
        for samples in [1, 3, 4, 7, 2048, 2049, 5000, 100_000] {
            let period = period(samples);
            let held_out = (0..samples).filter(|&i| is_held_out(i, period)).count();
            assert_eq!(held_out, samples / period);
            assert!(held_out <= MOST_HELD_OUT && held_out <= samples / 4, "{held_out} of {samples}");
            assert!(held_out >= MOST_HELD_OUT.min(samples / 4) * 2 / 3, "{held_out} of {samples}");
        }
    }
}
