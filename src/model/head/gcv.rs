//! The choice of gamma by generalised cross-validation, from the statistics alone.

use super::factor::{Columns, HostFactor};
use super::host::Host;
use crate::{Error, Result};

/// Decades below the mean of the diagonal of G in which gamma is looked for.
const DECADES: i32 = 5;

/// `GCV(gamma) = (RSS / n) / (1 - dof / n)^2` (Golub, Heath and Wahba, Technometrics 21, 1979) of the ridge regression of
/// the n one-hot labels, with `RSS = |Y - P W|^2 = n - tr(W^T Q) - gamma tr(W^T W)` and
/// `dof = tr(G (G + gamma I)^-1) = m - gamma tr (G + gamma I)^-1`.
///
/// # Errors
/// [`Error::NotPositiveDefinite`], [`Error::OutOfMemory`].
pub fn score(host: &Host, samples: u64, gamma: f64) -> Result<f64> {
    let mut gram = host.gram()?.into_owned();
    let (n, m) = (samples as f64, gram.size() as f64);
    let q = Columns::of(&host.sums, &gram);
    gram.shift(gamma);
    let factor = HostFactor::new(gram, &mut |_| ())?;
    let mut w = q.clone();
    factor.solve(&mut w);
    let rss = n - w.dot(&q) - gamma * w.dot(&w);
    let free = n - m + gamma * factor.inverse_trace();
    Ok(if free > 0.0 && rss >= 0.0 { n * rss / (free * free) } else { f64::INFINITY })
}

/// The gamma of least score: first among the powers of ten from the mean of the diagonal of G down to its 1e-5th part,
/// then 3 and 0.3 times the best.
///
/// # Errors
/// [`Error::Config`] where there is no sample; [`Error::NotPositiveDefinite`] where no candidate can be solved.
pub fn choose(host: &Host, samples: u64) -> Result<f64> {
    let mean = {
        let gram = host.gram()?;
        gram.trace() / gram.size() as f64
    };
    if samples == 0 || !mean.is_normal() {
        return Err(Error::Config(format!(
            "`gamma` = \"auto\" needs samples to choose by; there are {samples}, of mean square {mean}"
        )));
    }
    let top = mean.log10().floor() as i32;
    // The nearest float to the decimal, so that it prints as such.
    let candidate = |digit: u32, exponent: i32| format!("{digit}e{exponent}").parse().unwrap_or(f64::NAN);
    let mut best = (score(host, samples, candidate(1, top))?, candidate(1, top), top);
    let mut consider = |digit: u32, exponent: i32| {
        // What cannot be factored is no candidate.
        let score = score(host, samples, candidate(digit, exponent)).unwrap_or(f64::INFINITY);
        if score < best.0 {
            best = (score, candidate(digit, exponent), exponent);
        }
        best
    };
    let decade = (1..=DECADES).map(|k| consider(1, top - k)).last().map_or(top, |best| best.2);
    consider(3, decade);
    Ok(consider(3, decade - 1).1)
}
