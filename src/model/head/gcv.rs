//! The choice of gamma by generalised cross-validation, from the statistics alone.

use super::factor::{Columns, HostFactor};
use super::host::Host;
use crate::{Error, Result};

/// Decades below the mean of the diagonal of G in which gamma is looked for.
const DECADES: usize = 5;
/// Place of the power of ten next below that mean among the candidates.
const TOP: usize = 2 * DECADES + 1;
/// Place of the last candidate.
const LAST: usize = TOP + 1;

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

/// Candidate `at` of those below and above `10^top`: 3 10^(top - 6), 10^(top - 5), 3 10^(top - 5), ..., 10^top, 3 10^top.
fn candidate(top: i32, at: usize) -> f64 {
    let (digit, exponent) = ([3, 1][at % 2], top + at.div_ceil(2) as i32 - DECADES as i32 - 1);
    // The nearest float to the decimal, so that it prints as such.
    format!("{digit}e{exponent}").parse().unwrap_or(f64::NAN)
}

/// The place that is reached from `start` by going to the lesser neighbour until there is none, and its score. No place is
/// scored twice.
fn downhill(start: usize, score: impl Fn(usize) -> f64) -> (usize, f64) {
    let mut known = [None; LAST + 1];
    let mut score = |at: usize| *known[at].get_or_insert_with(|| score(at));
    let mut at = start;
    loop {
        let beside = [at.saturating_sub(1), LAST.min(at + 1)];
        let least = beside.into_iter().fold(at, |least, next| if score(next) < score(least) { next } else { least });
        if least == at {
            return (at, score(at));
        }
        at = least;
    }
}

/// The gamma of least score: first among the powers of ten from the mean of the diagonal of G down to its 1e-5th part,
/// then 3 and 0.3 times the best. With a gamma `near` by, the candidate next to it, or what is downhill from there.
///
/// # Errors
/// [`Error::Config`] where there is no sample; [`Error::NotPositiveDefinite`] where no candidate can be solved.
pub fn choose(host: &Host, samples: u64, near: Option<f64>) -> Result<f64> {
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
    // What cannot be factored is no candidate.
    let of_place = |at: usize| score(host, samples, candidate(top, at)).unwrap_or(f64::INFINITY);
    if let Some(near) = near {
        let apart = |at: usize| (candidate(top, at) / near).ln().abs();
        let start = (0..=LAST).min_by(|&a, &b| apart(a).total_cmp(&apart(b))).unwrap_or(TOP);
        let (at, least) = downhill(start, of_place);
        if least.is_finite() {
            return Ok(candidate(top, at));
        }
    }
    let mut best = (score(host, samples, candidate(top, TOP))?, TOP);
    let mut consider = |at: usize| {
        let score = of_place(at);
        if score < best.0 {
            best = (score, at);
        }
        best.1
    };
    let decade = (1..=DECADES).map(|k| consider(TOP - 2 * k)).last().unwrap_or(TOP);
    consider(decade + 1);
    Ok(candidate(top, consider(decade - 1)))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Samples, features, their rank, and how much chance is in the labels.
    const PROBLEMS: [(usize, usize, usize, f64); 6] = [
        (100, 30, 2, 0.0),
        (300, 40, 2, 0.0),
        (400, 20, 2, 0.0),
        (200, 40, 4, 0.0),
        (300, 60, 6, 0.0),
        (400, 40, 3, 0.5),
    ];
    const CLASSES: usize = 3;

    /// Random features of a few inputs, and labels that are linear in the inputs but for chance.
    fn problem(seed: u64, (n, m, rank, chance): (usize, usize, usize, f64)) -> Host {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut numbers = |n: usize| -> Vec<f64> { (0..n).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let (map, classes) = (numbers(rank * m), numbers(rank * CLASSES));
        let times = |x: &[f64], w: &[f64], cols: usize| -> Vec<f64> {
            (0..cols).map(|c| x.iter().enumerate().map(|(k, x)| x * w[k * cols + c]).sum()).collect()
        };
        let (mut p, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..n {
            let input = numbers(rank);
            p.extend(times(&input, &map, m).into_iter().map(|x| x.max(0.0)));
            let logits: Vec<f64> =
                times(&input, &classes, CLASSES).iter().zip(numbers(CLASSES)).map(|(x, e)| x + chance * e).collect();
            labels.push((0..CLASSES).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap() as u32);
        }
        let mut host = Host::new(m, false).unwrap();
        host.widen(CLASSES).unwrap();
        host.add(&p, &labels);
        host
    }

    #[test]
    fn the_walk_finds_the_least_of_all_candidates() {
        let (mut walked, mut found) = (0, [false; LAST + 1]);
        for (k, problem_of) in PROBLEMS.iter().flat_map(|of| [of; 5]).enumerate() {
            let (host, samples) = (problem(k as u64, *problem_of), problem_of.0 as u64);
            let gram = host.gram().unwrap();
            let top = (gram.trace() / gram.size() as f64).log10().floor() as i32;
            let all: Vec<f64> = (0..=LAST).map(|at| score(&host, samples, candidate(top, at)).unwrap()).collect();
            let least = (0..=LAST).min_by(|&a, &b| all[a].total_cmp(&all[b])).unwrap();
            if !all[..=least].is_sorted_by(|a, b| a > b) || !all[least..].is_sorted_by(|a, b| a < b) {
                continue;
            }
            (walked, found[least]) = (walked + 1, true);
            let gamma = candidate(top, least);
            // Beside candidates, and beyond all of them.
            for near in (0..=LAST).map(|at| 1.2 * candidate(top, at)).chain([0.0, gamma * 1e-12, gamma * 1e12]) {
                assert_eq!(choose(&host, samples, Some(near)).unwrap(), gamma, "{problem_of:?} {k} near {near}");
            }
        }
        // Most scores have one valley, and not all at one place.
        assert!(walked > 20, "{walked}");
        assert!(found.iter().filter(|&&found| found).count() > 3, "{found:?}");
    }

    #[test]
    fn candidates_are_the_1_and_3_of_decades() {
        let all: Vec<f64> = (0..=LAST).map(|at| candidate(2, at)).collect();
        assert_eq!(all, [3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0]);
        assert_eq!(candidate(2, TOP), 100.0);
    }

    #[test]
    fn a_walk_scores_no_candidate_twice() {
        let places = [(6, 6, 3), (0, 0, 2), (LAST, LAST, 2), (7, 6, 4), (2, 6, 7), (0, LAST, LAST + 1)];
        for (start, least, wanted) in places {
            let calls = Cell::new(0);
            let valley = |at: usize| {
                calls.set(calls.get() + 1);
                at.abs_diff(least) as f64
            };
            assert_eq!((downhill(start, valley), calls.get()), ((least, 0.0), wanted), "from {start}");
        }
        // Nothing that can be factored is in sight.
        assert_eq!(downhill(3, |at| if at < 9 { f64::INFINITY } else { 1.0 }), (3, f64::INFINITY));
    }

    #[test]
    fn the_full_search_takes_over_where_the_walk_finds_nothing() {
        // The smaller eigenvalue is -0.5.
        let mut host = Host::new(2, false).unwrap();
        host.unpack(&[1.0, 1.5, 1.0], &[0.5, 0.3, 0.2, 0.4]).unwrap();
        let chosen = choose(&host, 4, None).unwrap();
        assert!(score(&host, 4, 0.001).is_err() && score(&host, 4, chosen).is_ok_and(f64::is_finite), "{chosen}");
        assert_eq!(choose(&host, 4, Some(0.001)).unwrap(), chosen);
    }
}
