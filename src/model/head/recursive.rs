//! Recursive least squares in float64: a ridge classifier that is exact after every batch.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltError, cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::{Accum, Mat, Par};

use super::factor::{Columns, times};
use super::host::add_products;
use super::tiles::HostTiles;
use crate::linalg::{matrix, matrix_mut, product};
use crate::{Error, Result};

/// Rows that are taken at once: K has as many rows and columns.
const ROWS: usize = 512;

/// `R = (gamma I + sum x^T x)^-1` and `W = R sum x^T y` of rows x and targets y, on the host.
#[derive(Debug)]
pub struct Recursive {
    /// R [m, m].
    inverse: HostTiles,
    /// W^T [C, m].
    weights: Vec<f64>,
}

impl Recursive {
    /// Without rows and classes.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(features: usize, gamma: f64) -> Result<Self> {
        let mut inverse = HostTiles::zeros(features)?;
        inverse.shift(1.0 / gamma);
        Ok(Self { inverse, weights: Vec::new() })
    }

    /// The number of features, m.
    pub fn features(&self) -> usize {
        self.inverse.size()
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.weights.len() / self.features()
    }

    /// W^T [C, m].
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Widens W to `classes` classes; it never narrows.
    pub fn widen(&mut self, classes: usize) {
        self.weights.resize(classes.max(self.classes()) * self.features(), 0.0);
    }

    /// Adds rows x [B, m] with targets y [B, C], of which it leaves `E = y - x W` by the new W. With `P = R x^T` and
    /// `K = I + x P` before that (Woodbury): `E = K^-1 (y - x W)`, `W += P E`, `R -= P K^-1 P^T`, which is 3 m^2 B products
    /// instead of the m^3 / 3 of a factorisation. Many rows are added in parts; E is what the W behind all of them leaves.
    ///
    /// # Errors
    /// [`Error::Shape`] where the two do not fit together; [`Error::NotPositiveDefinite`] where they are not finite.
    pub fn add(&mut self, x: &[f64], y: &mut [f64]) -> Result<()> {
        let (m, classes) = (self.features(), self.classes());
        let batch = x.len() / m;
        if x.len() != batch * m || y.len() != batch * classes {
            return Err(Error::shape("recursion", "x and y", [batch * m, batch * classes], [x.len(), y.len()]));
        }
        if y.is_empty() {
            return Ok(());
        }
        if batch <= ROWS {
            return self.add_part(x, y);
        }
        let mut left = y.to_vec();
        for (x, left) in x.chunks(ROWS * m).zip(left.chunks_mut(ROWS * classes)) {
            self.add_part(x, left)?;
        }
        // What is left by the W of a part is not yet what is left by that of all rows.
        let weights = matrix(&self.weights, classes, m, m).transpose();
        product(matrix_mut(y, batch, classes, classes), Accum::Add, matrix(x, batch, m, m), weights, -1.0);
        Ok(())
    }

    /// The same with at most [`ROWS`] rows, whose shapes fit.
    fn add_part(&mut self, x: &[f64], y: &mut [f64]) -> Result<()> {
        let (m, classes) = (self.features(), self.classes());
        let batch = x.len() / m;
        // P^T, then L^-1 P^T for K = L L^T.
        let mut p = times(&self.inverse, &Columns::of(x, &self.inverse)).transposed();
        let rows = matrix(x, batch, m, m);
        let mut k = Mat::<f64>::identity(batch, batch);
        product(k.as_mut().as_dyn_stride_mut(), Accum::Add, rows, matrix(&p, batch, m, m).transpose(), 1.0);
        let weights = matrix(&self.weights, classes, m, m).transpose();
        product(matrix_mut(y, batch, classes, classes), Accum::Add, rows, weights, -1.0);
        let mut stack = MemBuffer::new(cholesky_in_place_scratch::<f64>(batch, Par::Seq, Default::default()));
        let stack = MemStack::new(&mut stack);
        if let Err(LltError::NonPositivePivot { index }) =
            cholesky_in_place(k.as_mut().as_dyn_stride_mut(), Default::default(), Par::Seq, stack, Default::default())
        {
            return Err(Error::NotPositiveDefinite { column: index, pivot: k[(index, index)] });
        }
        solve_lower_triangular_in_place(k.as_ref(), matrix_mut(&mut p, batch, m, m), Par::Seq);
        solve_lower_triangular_in_place(k.as_ref(), matrix_mut(y, batch, classes, classes), Par::Seq);
        add_products(&mut self.inverse, &p, batch, -1.0);
        let (left, p) = (matrix(y, batch, classes, classes).transpose(), matrix(&p, batch, m, m));
        product(matrix_mut(&mut self.weights, classes, m, m), Accum::Add, left, p, 1.0);
        let upper = k.as_ref().transpose();
        solve_upper_triangular_in_place(upper, matrix_mut(y, batch, classes, classes), Par::Seq);
        Ok(())
    }

    /// The lower triangle of R row after row, m (m + 1) / 2 numbers.
    pub fn packed(&self) -> Vec<f64> {
        self.inverse.pack().collect()
    }

    /// Takes W^T [C, m], and R as [`Recursive::packed`] gave it, if it is there.
    ///
    /// # Errors
    /// [`Error::Shape`] where the lengths do not fit.
    pub fn restore(&mut self, packed: Option<&[f64]>, weights: Vec<f64>) -> Result<()> {
        let m = self.features();
        let numbers = packed.map_or(m * (m + 1) / 2, <[f64]>::len);
        if numbers != m * (m + 1) / 2 || !weights.len().is_multiple_of(m) {
            return Err(Error::shape("recursion", "R and W", [m * (m + 1) / 2, m], [numbers, weights.len()]));
        }
        if let Some(packed) = packed {
            self.inverse.unpack(packed);
        }
        self.weights = weights;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::host::Host;
    use super::*;

    fn numbers(seed: u64, n: usize) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    /// Batches in a row are one ridge regression of all rows; what is left of the targets is what the new W misses.
    #[test]
    fn the_recursion_is_the_ridge() {
        // More features than a tile has, so that there are tiles of several sizes.
        let (m, classes, gamma) = (300, 3, 0.5);
        let (mut recursive, mut host) = (Recursive::new(m, gamma).unwrap(), Host::new(m, false).unwrap());
        let mut seen = 0;
        for (k, (batch, known)) in [(7, 2), (1, 2), (40, 3)].into_iter().enumerate() {
            let x = numbers(k as u64, batch * m);
            let labels: Vec<u32> = (0..batch).map(|i| ((seen + i) % known) as u32).collect();
            host.widen(known).unwrap();
            recursive.widen(known);
            host.add(&x, &labels);
            let hot = |i: usize, c: usize| f64::from(u8::from(labels[i] as usize == c));
            let mut y: Vec<f64> = (0..batch * known).map(|at| hot(at / known, at % known)).collect();
            recursive.add(&x, &mut y).unwrap();
            let (want, _) = host.solve(gamma, &mut |_| ()).unwrap();
            let error = want.iter().zip(recursive.weights()).fold(0.0, |top: f64, (x, y)| top.max((x - y).abs()));
            // Condition number below (m (7 + 1 + 40) / 3 + gamma) / gamma = 1e4.
            assert!(error < 1e-11, "{error}");
            for (at, left) in y.iter().enumerate() {
                let (i, c) = (at / known, at % known);
                let score: f64 = x[i * m..][..m].iter().zip(&want[c * m..]).map(|(x, w)| x * w).sum();
                assert!((left - (hot(i, c) - score)).abs() < 1e-11);
            }
            seen += batch;
        }
        assert_eq!(recursive.classes(), classes);
        // As it goes on from a state.
        let mut again = Recursive::new(m, gamma).unwrap();
        again.restore(Some(&recursive.packed()), recursive.weights().to_vec()).unwrap();
        let (x, y) = (numbers(9, 5 * m), numbers(10, 5 * classes));
        let left = [&mut recursive, &mut again].map(|of| {
            let mut left = y.clone();
            of.add(&x, &mut left).unwrap();
            (left, of.packed(), of.weights().to_vec())
        });
        assert!(left[0] == left[1]);
        assert!(again.add(&x, &mut [0.0; 4]).is_err());
        assert!(again.restore(Some(&[0.0; 4]), Vec::new()).is_err());
    }

    /// A batch in parts leaves the R and W of the whole, and what the W behind all parts leaves of the targets.
    #[test]
    fn many_rows_are_one_batch() {
        let (m, classes, batch) = (9, 2, 2 * ROWS + 3);
        let (x, y) = (numbers(1, batch * m), numbers(2, batch * classes));
        let mut recursive = Recursive::new(m, 0.5).unwrap();
        recursive.widen(classes);
        let mut whole = Recursive::new(m, 0.5).unwrap();
        whole.widen(classes);
        let (mut left, mut want) = (y.clone(), y);
        recursive.add(&x, &mut left).unwrap();
        whole.add_part(&x, &mut want).unwrap();
        let pairs = [(left, want), (recursive.packed(), whole.packed()), (recursive.weights, whole.weights)];
        for (got, want) in pairs {
            assert!(got.iter().zip(&want).all(|(x, y)| (x - y).abs() < 1e-12), "{got:?} for {want:?}");
        }
    }
}
