//! Figures over seeds: mean and deviation, and differences of pairs with their sign test.

use serde::Serialize;

/// Mean and deviation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// `sum x / n`.
    pub mean: f64,
    /// `sqrt(sum (x - mean)^2 / (n - 1))`; none of a single value.
    pub deviation: Option<f64>,
}

impl Spread {
    /// Of values, of which there is at least one.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
        Self { mean, deviation: (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()) }
    }
}

/// Differences of pairs of runs, each pair of one seed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Their mean.
    pub mean: f64,
    /// The least of them.
    pub least: f64,
    /// See [`sign_test`].
    pub p: f64,
}

impl Difference {
    /// Of differences, of which there is at least one.
    pub fn of(values: &[f64]) -> Self {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        Self { mean: Spread::of(values).mean, least, p: sign_test(values) }
    }
}

/// The two-sided sign test: how probable it is that of n fair coins as few as k, or fewer, fall on one side, whichever it is:
/// `min(1, 2 sum_(i <= k) C(n, i) / 2^n)`, n the number of differences that are not 0 and k that of the rarer sign; 1 where
/// there is none. Of up to 1,000 differences.
pub fn sign_test(differences: &[f64]) -> f64 {
    let count = |sign: fn(f64) -> bool| differences.iter().filter(|&&x| sign(x)).count();
    let (above, below) = (count(|x| x > 0.0), count(|x| x < 0.0));
    let n = above + below;
    // C(n, i) / 2^n from the one before.
    let mut term = 0.5_f64.powi(n as i32);
    let mut tail = term;
    for i in 0..above.min(below) {
        term *= (n - i) as f64 / (i + 1) as f64;
        tail += term;
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-15, "{got} is not {expected}");
    }

    #[test]
    fn means_and_deviations_by_hand() {
        // Mean 5, squares 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32 over 7.
        let Spread { mean, deviation } = Spread::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        close(mean, 5.0);
        close(deviation.unwrap(), (32.0_f64 / 7.0).sqrt());
        assert_eq!(Spread::of(&[0.5]), Spread { mean: 0.5, deviation: None });
        assert_eq!(Spread::of(&[0.25; 3]), Spread { mean: 0.25, deviation: Some(0.0) });
    }

    /// Tails of the binomial distribution of fair coins, from tables.
    #[test]
    fn signs_are_tested_by_the_binomial_distribution() {
        let p = |above: usize, below: usize, none: usize| {
            sign_test(&[vec![0.3; above], vec![-0.1; below], vec![0.0; none]].concat())
        };
        for (above, below, none, expected) in [
            (1, 0, 0, 1.0),
            (2, 0, 0, 0.5),
            (3, 0, 0, 0.25),
            (0, 3, 2, 0.25),
            (5, 0, 0, 0.0625),
            (6, 0, 1, 0.03125),
            (9, 1, 0, 0.021484375),
            (8, 2, 0, 0.109375),
            (2, 8, 0, 0.109375),
            (15, 5, 0, 0.04138946533203125),
            (1, 1, 0, 1.0),
            (5, 5, 0, 1.0),
            (0, 0, 4, 1.0),
        ] {
            close(p(above, below, none), expected);
        }
        assert_eq!(sign_test(&[]), 1.0);
    }
}
