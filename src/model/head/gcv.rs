//! The choice of gamma by generalised cross-validation, from the statistics alone.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::factor::{Columns, HostFactor};
use super::host::Host;
use crate::{Error, Result};

/// The smallest candidate, as a share of the mean of the diagonal of G, however many samples there are.
const LEAST: f64 = 1e-5;

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

/// Candidate `at`: 1 and 3 of every decade, 1 at 0.
fn candidate(at: i32) -> f64 {
    let digit = [1, 3][at.rem_euclid(2) as usize];
    // The nearest float to the decimal, so that it prints as such.
    format!("{digit}e{}", at.div_euclid(2)).parse().unwrap_or(f64::NAN)
}

/// The candidates, and the place of the power of ten next below the mean of the diagonal of G, `mean`. The largest is three
/// times that power. The smallest is not below the n-th part of the mean: what one sample adds to it. While there are fewer
/// samples than features, smaller ones fit all labels, and their score, 0 over 0, says nothing.
fn candidates(mean: f64, samples: u64) -> (RangeInclusive<i32>, i32) {
    let top = 2 * mean.log10().floor() as i32;
    let least = mean * LEAST.max(1.0 / samples as f64);
    let first = (0..).map(|below| top - below).take_while(|&at| candidate(at) >= least).last();
    (first.unwrap_or(top)..=top + 1, top)
}

/// The place that is reached from `start` by going to the lesser neighbour until there is none, and its score. No place is
/// scored twice.
fn downhill(all: &RangeInclusive<i32>, start: i32, score: impl Fn(i32) -> f64) -> (i32, f64) {
    let mut known = BTreeMap::new();
    let mut score = |at: i32| *known.entry(at).or_insert_with(|| score(at));
    let mut at = start;
    loop {
        let beside = [at - 1, at + 1].into_iter().filter(|next| all.contains(next));
        let least = beside.fold(at, |least, next| if score(next) < score(least) { next } else { least });
        if least == at {
            return (at, score(at));
        }
        at = least;
    }
}

/// The gamma of least score: first among the powers of ten from the mean of the diagonal of G down to its n-th part, not
/// below its 1e-5th, then 3 and 0.3 times the best. With a gamma `near` by, the candidate next to it, or what is downhill
/// from there.
///
/// # Errors
/// [`Error::Config`] where there is no sample; [`Error::NotPositiveDefinite`] where no candidate can be solved.
pub fn choose(host: &Host, samples: u64, near: Option<f64>) -> Result<f64> {
    let mean = {
        let gram = host.gram()?;
        gram.trace() / gram.size() as f64
    };
    // Statistics of a file may have a trace of no Gram matrix.
    if samples == 0 || !mean.is_normal() || mean < 0.0 {
        return Err(Error::Config(format!(
            "`gamma` = \"auto\" needs samples to choose by; there are {samples}, of mean square {mean}"
        )));
    }
    let (all, top) = candidates(mean, samples);
    // What cannot be factored is no candidate.
    let of_place = |at: i32| score(host, samples, candidate(at)).unwrap_or(f64::INFINITY);
    if let Some(near) = near {
        let apart = |at: i32| (candidate(at) / near).ln().abs();
        let start = all.clone().min_by(|&a, &b| apart(a).total_cmp(&apart(b))).unwrap_or(top);
        let (at, least) = downhill(&all, start, of_place);
        if least.is_finite() {
            return Ok(candidate(at));
        }
    }
    let mut best = (score(host, samples, candidate(top))?, top);
    let mut consider = |at: i32| {
        let score = of_place(at);
        if score < best.0 {
            best = (score, at);
        }
        best.1
    };
    let decade = (1..).map(|k| top - 2 * k).take_while(|at| all.contains(at)).map(&mut consider).last().unwrap_or(top);
    for at in [decade + 1, decade - 1] {
        if all.contains(&at) {
            consider(at);
        }
    }
    Ok(candidate(best.1))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;

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
        let (mut walked, mut found) = (0, BTreeSet::new());
        for (k, problem_of) in PROBLEMS.iter().flat_map(|of| [of; 5]).enumerate() {
            let (host, samples) = (problem(k as u64, *problem_of), problem_of.0 as u64);
            let gram = host.gram().unwrap();
            let (places, top) = candidates(gram.trace() / gram.size() as f64, samples);
            let places: Vec<i32> = places.collect();
            let all: Vec<f64> = places.iter().map(|&at| score(&host, samples, candidate(at)).unwrap()).collect();
            let least = (0..all.len()).min_by(|&a, &b| all[a].total_cmp(&all[b])).unwrap();
            if !all[..=least].is_sorted_by(|a, b| a > b) || !all[least..].is_sorted_by(|a, b| a < b) {
                continue;
            }
            walked += 1;
            found.insert(places[least] - top);
            let gamma = candidate(places[least]);
            // Beside candidates, and beyond all of them.
            for near in places.iter().map(|&at| 1.2 * candidate(at)).chain([0.0, gamma * 1e-12, gamma * 1e12]) {
                assert_eq!(choose(&host, samples, Some(near)).unwrap(), gamma, "{problem_of:?} {k} near {near}");
            }
        }
        // Most scores have one valley, and not all at one place.
        assert!(walked > 20, "{walked}");
        assert!(found.len() > 3, "{found:?}");
    }

    #[test]
    fn candidates_are_the_1_and_3_of_decades_from_what_a_sample_adds() {
        let of = |mean: f64, samples| {
            let (all, top) = candidates(mean, samples);
            (all.map(candidate).collect::<Vec<_>>(), candidate(top))
        };
        assert_eq!(of(250.0, 1000), (vec![0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0], 100.0));
        assert_eq!(of(0.02, 50), (vec![1e-3, 3e-3, 0.01, 0.03], 0.01));
        assert_eq!(of(1e9, u64::MAX).0.first(), Some(&1e4));
        // Fewer samples than a decade has.
        assert_eq!(of(250.0, 1), (vec![100.0, 300.0], 100.0));
    }

    #[test]
    fn a_walk_scores_no_candidate_twice() {
        let all = -6..=6;
        for (start, least, wanted) in [(0, 0, 3), (-6, -6, 2), (6, 6, 2), (1, 0, 4), (-4, 0, 7), (-6, 6, 13)] {
            let calls = Cell::new(0);
            let valley = |at: i32| {
                calls.set(calls.get() + 1);
                f64::from(at.abs_diff(least))
            };
            assert_eq!((downhill(&all, start, valley), calls.get()), ((least, 0.0), wanted), "from {start}");
        }
        // Nothing that can be factored is in sight.
        assert_eq!(downhill(&all, -3, |at| if at < 3 { f64::INFINITY } else { 1.0 }), (-3, f64::INFINITY));
    }

    #[test]
    fn a_negative_trace_is_refused() {
        let mut host = Host::new(2, false).unwrap();
        host.unpack(&[-1.0, 0.0, -1.0], &[0.5, 0.3, 0.2, 0.4]).unwrap();
        assert!(matches!(choose(&host, 40, None), Err(Error::Config(_))));
    }

    #[test]
    fn the_full_search_takes_over_where_the_walk_finds_nothing() {
        // The smaller eigenvalue is -0.5.
        let mut host = Host::new(2, false).unwrap();
        host.unpack(&[1.0, 1.5, 1.0], &[0.5, 0.3, 0.2, 0.4]).unwrap();
        let chosen = choose(&host, 40, None).unwrap();
        assert!([0.03, 0.1].iter().all(|&gamma| score(&host, 40, gamma).is_err()), "those around the first are none");
        assert!(score(&host, 40, chosen).is_ok_and(f64::is_finite), "{chosen}");
        assert_eq!(choose(&host, 40, Some(0.001)).unwrap(), chosen);
    }
}
