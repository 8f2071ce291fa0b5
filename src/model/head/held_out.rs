//! The choice of a ridge by samples that are held out, in float64 on the host.

use faer::Accum;
use rayon::prelude::*;

use super::factor::HostFactor;
use super::host::add_products;
use super::tiles::{HostTiles, update};
use crate::linalg::{matrix, matrix_mut, product};
use crate::{Error, Result};

/// Rows that a core takes at once.
const ROWS: usize = 256;

/// Random features of samples in an order of chance: ridge regressions are fitted to the first four fifths of them and judged
/// by the others. Where fewer than m are fitted, all are kept, 8 n m bytes, and solved for as [n, n] (the dual); else their
/// products are summed.
#[derive(Debug)]
pub struct HeldOut {
    features: usize,
    classes: usize,
    samples: usize,
    /// How many are fitted.
    fitted: usize,
    /// Of the samples that were added.
    labels: Vec<u32>,
    /// Their random features, or of those that are held out, if `products` has the others.
    rows: Vec<f64>,
    /// g [m, m] and q^T [C, m].
    products: Option<(HostTiles, Vec<f64>)>,
}

impl HeldOut {
    /// # Errors
    /// [`Error::Unsupported`] for a single sample, which would leave none to fit; [`Error::OutOfMemory`].
    pub fn new(features: usize, classes: usize, samples: usize) -> Result<Self> {
        let fitted = samples * 4 / 5;
        if fitted == 0 {
            return Err(Error::Unsupported(format!("a ridge is chosen by at least 2 images of a task, got {samples}")));
        }
        let products = (fitted > features)
            .then(|| Ok::<_, Error>((HostTiles::zeros(features)?, vec![0.0; classes * features])))
            .transpose()?;
        Ok(Self { features, classes, samples, fitted, labels: Vec::new(), rows: Vec::new(), products })
    }

    /// Adds random features h [B, m] with labels below the number of classes.
    ///
    /// # Errors
    /// [`Error::Shape`] where the two do not fit together, or there are more than was said.
    pub fn add(&mut self, h: &[f64], labels: &[u32]) -> Result<()> {
        let (m, seen) = (self.features, self.labels.len());
        if h.len() != labels.len() * m || seen + labels.len() > self.samples {
            let expected = [m, self.samples - seen];
            return Err(Error::shape("held out", "h and labels, at most", expected, [h.len(), labels.len()]));
        }
        if let Some(y) = labels.iter().find(|&&y| y as usize >= self.classes) {
            return Err(Error::shape("held out", "labels", 0..self.classes, y));
        }
        let mut kept = h;
        if let Some((gram, sums)) = &mut self.products {
            let (fitted, held_out) = h.split_at(m * labels.len().min(self.fitted.saturating_sub(seen)));
            add_products(gram, fitted, fitted.len() / m, 1.0);
            for (row, &y) in fitted.chunks(m).zip(labels) {
                sums[y as usize * m..][..m].iter_mut().zip(row).for_each(|(q, x)| *q += x);
            }
            kept = held_out;
        }
        self.rows.extend_from_slice(kept);
        self.labels.extend_from_slice(labels);
        Ok(())
    }

    /// For each ridge the squared error of `h W` against onehot(y), `W = (g + lambda I)^-1 q`: summed over classes, the mean
    /// over the samples that are held out. Infinite where the matrix cannot be factored.
    ///
    /// # Errors
    /// [`Error::Shape`] where samples are missing; [`Error::OutOfMemory`].
    pub fn losses(self, lambdas: &[f64]) -> Result<Vec<f64>> {
        let Self { features: m, classes, samples, fitted, labels, rows, products } = self;
        if labels.len() < samples {
            return Err(Error::shape("held out", "h", [samples, m], [labels.len(), m]));
        }
        let (of_fitted, of_held_out) = labels.split_at(fitted);
        // W = W' for rows of features; W = h^T W' for rows of their products with those that are fitted.
        let (system, sums, seen) = match products {
            Some((gram, sums)) => (gram, sums, rows),
            None => {
                let (h, held_out) = rows.split_at(fitted * m);
                let mut hot = vec![0.0; classes * fitted];
                of_fitted.iter().enumerate().for_each(|(i, &y)| hot[y as usize * fitted + i] = 1.0);
                (own_products(h, fitted, m)?, hot, products_with(held_out, h, fitted, m))
            }
        };
        let loss = |&lambda: &f64| -> Result<f64> {
            let mut shifted = system.fork()?;
            shifted.shift(lambda);
            let Ok(factor) = HostFactor::new(shifted, &mut |_| ()) else { return Ok(f64::INFINITY) };
            let mut weights = sums.clone();
            factor.solve_transposed(&mut weights);
            Ok(missed(&seen, &weights, system.size(), of_held_out))
        };
        lambdas.iter().map(loss).collect()
    }
}

/// `h h^T` [n, n] for h [n, m].
fn own_products(h: &[f64], n: usize, m: usize) -> Result<HostTiles> {
    let mut all = HostTiles::zeros(n)?;
    let side = all.side();
    all.for_each(
        |_, _| true,
        |i, j, tile| {
            let lhs = matrix(&h[i * side * m..], tile.nrows(), m, m);
            let rhs = matrix(&h[j * side * m..], tile.ncols(), m, m);
            update(tile, i == j, lhs, rhs.transpose(), 1.0);
        },
    );
    Ok(all)
}

/// `x h^T` [k, n] for x [k, m] and h [n, m].
fn products_with(x: &[f64], h: &[f64], n: usize, m: usize) -> Vec<f64> {
    let mut all = vec![0.0; x.len() / m * n];
    all.par_chunks_mut(ROWS * n).zip(x.par_chunks(ROWS * m)).for_each(|(out, x)| {
        let rows = x.len() / m;
        let (x, h) = (matrix(x, rows, m, m), matrix(h, n, m, m).transpose());
        product(matrix_mut(out, rows, n, n), Accum::Add, x, h, 1.0);
    });
    all
}

/// `|x w - onehot(y)|^2`, the mean over rows, for x [k, s] and w^T [C, s].
fn missed(x: &[f64], weights: &[f64], s: usize, labels: &[u32]) -> f64 {
    let classes = weights.len() / s;
    let part = |(x, labels): (&[f64], &[u32])| {
        let rows = labels.len();
        let mut scores = vec![0.0; rows * classes];
        let (x, w) = (matrix(x, rows, s, s), matrix(weights, classes, s, s).transpose());
        product(matrix_mut(&mut scores, rows, classes, classes), Accum::Add, x, w, 1.0);
        scores.chunks_mut(classes).zip(labels).for_each(|(row, &y)| row[y as usize] -= 1.0);
        scores.iter().map(|e| e * e).sum::<f64>()
    };
    // Collected first, so that the sum has one order.
    let parts: Vec<f64> = x.par_chunks(ROWS * s).zip(labels.par_chunks(ROWS)).map(part).collect();
    parts.iter().sum::<f64>() / labels.len() as f64
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::host::Host;
    use super::*;

    const CLASSES: usize = 3;

    /// The losses by the classifier's own solve, sample by sample.
    fn naive(h: &[f64], labels: &[u32], m: usize, lambda: f64) -> f64 {
        let fitted = labels.len() * 4 / 5;
        let mut host = Host::new(m, false).unwrap();
        host.widen(CLASSES).unwrap();
        host.add(&h[..fitted * m], &labels[..fitted]);
        let (w, _) = host.solve(lambda, &mut |_| ()).unwrap();
        let error = |(row, &y): (&[f64], &u32)| -> f64 {
            let score = |c: usize| row.iter().zip(&w[c * m..]).map(|(x, w)| x * w).sum::<f64>();
            (0..CLASSES).map(|c| (score(c) - f64::from(u8::from(y as usize == c))).powi(2)).sum()
        };
        let held_out = h[fitted * m..].chunks(m).zip(&labels[fitted..]);
        held_out.map(error).sum::<f64>() / (labels.len() - fitted) as f64
    }

    #[test]
    fn both_forms_give_the_losses_of_the_solution() {
        // Fewer samples than features, as many that are fitted, and more; more than a tile of either.
        for (n, m) in [(40, 50), (5, 4), (400, 37), (330, 300), (400, 300), (7, 500)] {
            let mut rng = ChaCha8Rng::seed_from_u64(n as u64);
            let h: Vec<f64> = (0..n * m).map(|_| rng.random_range(-0.5f64..1.0).max(0.0)).collect();
            let labels: Vec<u32> = (0..n).map(|i| (i * i % CLASSES) as u32).collect();
            let lambdas = [1.0, 10.0, 1e4];
            let mut held_out = HeldOut::new(m, CLASSES, n).unwrap();
            for (h, labels) in h.chunks(33 * m).zip(labels.chunks(33)) {
                held_out.add(h, labels).unwrap();
            }
            assert_eq!(held_out.products.is_some(), n * 4 / 5 > m);
            for (loss, lambda) in held_out.losses(&lambdas).unwrap().into_iter().zip(lambdas) {
                let want = naive(&h, &labels, m, lambda);
                assert!((loss - want).abs() < 1e-10 * want, "{n} {m} {lambda}: {loss} for {want}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(HeldOut::new(4, 2, 1).is_err());
        let mut held_out = HeldOut::new(2, 2, 3).unwrap();
        assert!(held_out.add(&[1.0; 3], &[0]).is_err());
        assert!(held_out.add(&[1.0; 2], &[2]).is_err());
        held_out.add(&[1.0; 4], &[0, 1]).unwrap();
        assert!(held_out.add(&[1.0; 4], &[0, 1]).is_err());
        assert!(held_out.losses(&[1.0]).is_err());
    }

    /// Features that are 0 leave nothing to factor but the ridge.
    #[test]
    fn what_cannot_be_factored_is_never_chosen() {
        let mut held_out = HeldOut::new(3, 1, 5).unwrap();
        held_out.add(&[0.0; 15], &[0; 5]).unwrap();
        assert_eq!(held_out.losses(&[0.0, 1.0]).unwrap(), [f64::INFINITY, 1.0]);
    }
}
