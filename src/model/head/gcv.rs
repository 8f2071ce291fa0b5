//! The choice of gamma by generalised cross-validation, from the statistics alone.

use super::factor::{Columns, Factor};
use super::host::Host;
use crate::{Error, Result};

/// Decades below the mean of the diagonal of G in which gamma is looked for.
const DECADES: i32 = 5;

/// `GCV(gamma) = (RSS / n) / (1 - dof / n)^2` (Golub, Heath and Wahba, Technometrics 21, 1979) of the ridge regression of
/// the n one-hot labels, with
///
///     RSS = |Y - P W|^2 = n - tr(W^T Q) - gamma tr(W^T W),     dof = tr(G (G + gamma I)^-1) = m - gamma tr (G + gamma I)^-1.
///
/// # Errors
/// [`Error::NotPositiveDefinite`], [`Error::OutOfMemory`].
pub fn score(host: &Host, samples: u64, gamma: f64) -> Result<f64> {
    let mut gram = host.gram()?.into_owned();
    let (n, m) = (samples as f64, gram.size() as f64);
    let q = Columns::of(&host.sums, &gram);
    gram.shift(gamma);
    let factor = Factor::new(gram, &mut |_| ())?;
    let mut w = q.clone();
    factor.solve(&mut w);
    let rss = n - w.dot(&q) - gamma * w.dot(&w);
    let free = n - m + gamma * factor.inverse_trace();
    Ok(if free > 0.0 && rss >= 0.0 { n * rss / (free * free) } else { f64::INFINITY })
}

/// The gamma of least score: first among the powers of ten from the mean of the diagonal of G down to its 1e-5th part,
/// then half a decade to both sides of the best.
///
/// # Errors
/// [`Error::Config`] where there is no sample; that of the largest gamma where none can be solved.
pub fn choose(host: &Host, samples: u64) -> Result<f64> {
    let mean = {
        let gram = host.gram()?;
        gram.trace() / gram.size() as f64
    };
    if samples == 0 || mean <= 0.0 || !mean.is_finite() {
        return Err(Error::Config(format!(
            "`gamma` = \"auto\" needs samples to choose by; there are {samples}, of mean square {mean}"
        )));
    }
    let top = mean.log10().floor() as i32;
    let (mut best, mut least) = (10f64.powi(top), score(host, samples, 10f64.powi(top))?);
    let mut consider = |gamma: f64| {
        // What cannot be factored is no candidate.
        let score = score(host, samples, gamma).unwrap_or(f64::INFINITY);
        if score < least {
            (best, least) = (gamma, score);
        }
        best
    };
    let decade = (1..=DECADES).map(|k| consider(10f64.powi(top - k))).last().unwrap_or(10f64.powi(top));
    consider(decade * 10f64.sqrt());
    Ok(consider(decade / 10f64.sqrt()))
}
