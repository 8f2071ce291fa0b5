//! Maps and what they do to statistics against plain loops, and the property that they are for.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::model::head::Statistics;
use crate::model::head::drift::{DriftMap, Found};
use crate::model::head::host::Host;
use crate::model::head::tiles::SIDE;

/// Around one tile and two of samples and of features, and most of one of them.
const SIZES: [(usize, usize); 8] = [(1, 1), (3, 2), (5, 40), (40, 5), (37, 37), (256, 257), (259, 300), (300, 259)];
const CLASSES: usize = 3;
/// Samples that are gone.
const OLD: usize = 40;

/// Numbers in [-1, 1) without any symmetry.
fn numbers(seed: u64, n: usize) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Many of them alike, all above 0.
fn features(seed: u64, n: usize) -> Vec<f64> {
    numbers(seed, n).into_iter().map(|x| x.max(-0.2) + 0.25).collect()
}

/// `x y` by plain loops, for y of so many columns.
fn times(x: &[f64], y: &[f64], cols: usize) -> Vec<f64> {
    let inner = y.len() / cols;
    let mut out = vec![0.0; x.len() / inner * cols];
    for (out, x) in out.chunks_mut(cols).zip(x.chunks(inner)) {
        for (x, y) in x.iter().zip(y.chunks(cols)) {
            out.iter_mut().zip(y).for_each(|(out, y)| *out += x * y);
        }
    }
    out
}

fn transposed(x: &[f64], cols: usize) -> Vec<f64> {
    (0..cols).flat_map(|c| x[c..].iter().step_by(cols).copied()).collect()
}

fn rows_of(x: &[f64], cols: usize, chosen: impl Fn(usize) -> bool) -> Vec<f64> {
    x.chunks(cols).enumerate().filter(|(i, _)| chosen(*i)).flat_map(|(_, row)| row).copied().collect()
}

fn difference(x: &[f64], y: &[f64]) -> Vec<f64> {
    assert_eq!(x.len(), y.len());
    x.iter().zip(y).map(|(x, y)| x - y).collect()
}

fn squares(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum()
}

/// `A - I = P_o^T (P_o P_o^T + lambda I)^-1 (P_n - P_o)`, by Gauss-Jordan elimination without pivoting, which a positive
/// definite matrix allows.
fn naive(before: &[f64], after: &[f64], m: usize, lambda: f64) -> Vec<f64> {
    let n = before.len() / m;
    let shift = lambda * squares(before) / m as f64;
    let (gram, change) = (times(before, &transposed(before, m), n), difference(after, before));
    let mut rows: Vec<Vec<f64>> = (0..n).map(|i| [&gram[i * n..][..n], &change[i * m..][..m]].concat()).collect();
    (0..n).for_each(|i| rows[i][i] += shift);
    for k in 0..n {
        let scaled: Vec<f64> = rows[k].iter().map(|x| x / rows[k][k]).collect();
        for i in (0..n).filter(|&i| i != k) {
            let by = rows[i][k];
            rows[i].iter_mut().zip(&scaled).for_each(|(x, s)| *x -= by * s);
        }
        rows[k] = scaled;
    }
    let l: Vec<f64> = rows.iter().flat_map(|row| &row[n..]).copied().collect();
    times(&transposed(before, m), &l, m)
}

/// `x A`.
fn carried(x: &[f64], map: &[f64], m: usize) -> Vec<f64> {
    x.iter().zip(times(x, map, m)).map(|(x, change)| x + change).collect()
}

/// In batches of 7, in either form.
fn drift(before: &[f64], after: &[f64], m: usize, lambda: f64, products: bool) -> HostMap {
    let mut drift = HostDrift::gathering(m, before.len() / m, lambda, products).unwrap();
    for (before, after) in before.chunks(7 * m).zip(after.chunks(7 * m)) {
        drift.add(before, after).unwrap();
        drift.add(&[], &[]).unwrap();
    }
    drift.finish().unwrap()
}

/// Statistics of features [OLD, m]; the last class has no samples.
fn gathered(x: &[f64], m: usize, by_class: bool) -> Host {
    let mut host = Host::new(m, by_class).unwrap();
    host.widen(CLASSES).unwrap();
    host.add(x, &labels());
    host
}

fn labels() -> Vec<u32> {
    (0..OLD as u32).map(|i| i * i % 3).collect()
}

/// Against G and Q of features [OLD, m] by plain loops, relative to the largest entry of each.
fn judge(host: &Host, x: &[f64], m: usize, bound: f64, what: &str) {
    let largest =
        |x: &[f64]| x.iter().fold(0.0, |top: f64, x| if x.is_finite() { top.max(x.abs()) } else { f64::INFINITY });
    let class = |c: usize| rows_of(x, m, |i| labels()[i] as usize == c);
    let parts: Vec<_> = if host.by_class { (0..CLASSES).map(class).collect() } else { vec![x.to_vec()] };
    assert_eq!(host.grams.len(), parts.len());
    let mut checks: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    for (gram, x) in host.grams.iter().zip(&parts) {
        let whole = if x.is_empty() { vec![0.0; m * m] } else { times(&transposed(x, m), x, m) };
        checks.push((gram.pack().collect(), (0..m).flat_map(|r| whole[r * m..][..=r].to_vec()).collect()));
    }
    let sums = |c: usize| times(&vec![1.0; class(c).len() / m], &class(c), m);
    let sums = (0..CLASSES).flat_map(|c| if class(c).is_empty() { vec![0.0; m] } else { sums(c) }).collect();
    checks.push((host.sums.clone(), sums));
    for (got, want) in checks {
        let (error, size) = (largest(&difference(&got, &want)), largest(&want));
        assert!(error <= bound * size, "{what}: off by {error:e} of {size:e}, bound {bound:e}");
    }
}

#[test]
fn both_forms_are_the_formula() {
    let lambda = 0.1;
    for (n, m) in SIZES {
        let (before, old) = (features(1, n * m), features(2, OLD * m));
        // The first tile of features stays where it is where there are more.
        let after: Vec<f64> = before
            .iter()
            .zip(numbers(3, n * m))
            .enumerate()
            .map(|(at, (x, noise))| if at % m < SIDE && m > SIDE { *x } else { x + 0.2 * noise })
            .collect();
        let want = carried(&old, &naive(&before, &after, m, lambda), m);
        // What a quarter is explained by the others.
        let of = |x: &[f64], held_out: bool| rows_of(x, m, |i| (i % 4 == 3) == held_out);
        let fit = naive(&of(&before, false), &of(&after, false), m, lambda);
        let (p, p_new) = (of(&before, true), of(&after, true));
        let missed = squares(&difference(&p_new, &carried(&p, &fit, m)));
        let explained = if p.is_empty() { 0.0 } else { 1.0 - missed / squares(&difference(&p_new, &p)) };
        // Sums of n + m terms, amplified by the condition of the system: its trace, which its largest eigenvalue is below, is
        // m / lambda times the smallest one.
        let bound = f64::EPSILON * (n + m) as f64 * (1.0 + m as f64 / lambda);
        for products in [false, true] {
            let what = format!("n {n}, m {m}, products {products}");
            let map = drift(&before, &after, m, lambda, products);
            for by_class in [false, true] {
                let mut host = gathered(&old, m, by_class);
                host.compensate(&map).unwrap();
                judge(&host, &want, m, bound, &what);
            }
            let error = (map.explained - explained).abs();
            assert!(error <= bound * explained.abs().max(1.0), "{what}: explained {} for {explained}", map.explained);
        }
    }
}

/// Features that move by one linear map, and old ones in the span of the new: statistics become those of the moved features.
/// The map misses lambda / (s^2 + lambda) of a direction of singular value s of P_o. Of uniform numbers the smallest s^2 is
/// about (sqrt n - sqrt m)^2 / 3, above 1 / 3 here, and lambda is 1e-13 n / 3: at most 400 / 3 * 1e-13 / 0.3 = 4e-11 is missed.
#[test]
fn linear_drift_is_undone() {
    for (n, m) in [(30, 50), (90, 50), (200, 300), (400, 300)] {
        let (before, map) = (numbers(4, n * m), numbers(5, m * m));
        let step: Vec<f64> = map.iter().map(|x| 0.3 * x / (m as f64).sqrt()).collect();
        let old = times(&numbers(6, OLD * n), &before, m);
        let mut drift = HostDrift::new(m, n, 1e-13).unwrap();
        assert_eq!(matches!(drift.gathered, Gathered::Products { .. }), n > m);
        drift.add(&before, &carried(&before, &step, m)).unwrap();
        let map = drift.finish().unwrap();
        for by_class in [false, true] {
            let mut host = gathered(&old, m, by_class);
            host.compensate(&map).unwrap();
            judge(&host, &carried(&old, &step, m), m, 1e-10, &format!("n {n}, m {m}"));
        }
    }
}

#[test]
fn what_a_map_explains() {
    let rank = 10;
    for (n, m) in [(40, 60), (60, 40)] {
        // Held-out samples lie in the span of the others.
        let before = times(&numbers(7, n * rank), &numbers(8, rank * m), m);
        let linear = carried(&before, &numbers(9, m * m).iter().map(|x| 0.05 * x).collect::<Vec<_>>(), m);
        // What is missed goes with the square of lambda.
        let map = drift(&before, &linear, m, 1e-6, n > m);
        assert!((1.0 - map.explained).abs() < 1e-9, "{}", map.explained);
        let chance = drift(&numbers(10, n * m), &numbers(11, n * m), m, 0.1, n > m);
        assert!(chance.explained < 0.0, "{}", chance.explained);
        let still = drift(&before, &before, m, 0.1, n > m);
        assert_eq!(still.explained, 0.0);
        let (mut host, old) = (gathered(&numbers(12, OLD * m), m, false), gathered(&numbers(12, OLD * m), m, false));
        host.compensate(&still).unwrap();
        assert!(host.grams == old.grams && host.sums == old.sums);
    }
}

#[test]
fn refusals() {
    let shape = |outcome: Result<()>| matches!(outcome, Err(Error::Shape { .. }));
    assert!(shape(HostDrift::new(0, 5, 0.1).map(drop)) && shape(HostDrift::new(5, 0, 0.1).map(drop)));
    for (n, m) in [(2, 3), (3, 2)] {
        let mut drift = HostDrift::new(m, n, 0.1).unwrap();
        let x = features(13, (n + 1) * m);
        assert!(shape(drift.add(&x[..m + 1], &x[..m + 1])), "no whole rows");
        assert!(shape(drift.add(&x[..m], &x[..2 * m])), "unequal");
        assert!(shape(drift.add(&x, &x)), "too many");
        drift.add(&x[..m], &x[m..2 * m]).unwrap();
        assert!(shape(drift.finish().map(drop)), "too few");
        let mut none = HostDrift::new(m, n, 0.1).unwrap();
        none.add(&vec![0.0; n * m], &x[..n * m]).unwrap();
        assert!(matches!(none.finish(), Err(Error::NotPositiveDefinite { .. })) == (n < m), "features of 0");
    }
    let mut statistics = Statistics::by_class(4).unwrap();
    let other = DriftMap(Found::Host(drift(&features(14, 6), &features(15, 6), 3, 0.1, false)));
    assert!(shape(pollster::block_on(statistics.compensate(&other))));
}
