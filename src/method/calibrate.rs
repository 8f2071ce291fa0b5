//! The scale of analytic logits.

use std::ops::RangeInclusive;

/// Scales that are tried: powers of two, from 1 to 256 by half steps.
const GRID: RangeInclusive<i32> = 0..=16;

/// The scale `2^(k / 2)`, k = 0..16, of least cross-entropy of the logits [n, classes], and 1 without any. Analytic logits
/// lie in 0..1, so that their plain cross-entropy never becomes small.
pub(super) fn scale_of_least_loss(logits: &[f64], labels: &[u32]) -> f64 {
    let scales = GRID.map(|k| 2f64.powf(f64::from(k) / 2.0));
    let losses = scales.map(|scale| (scale, loss(logits, labels, scale)));
    losses.reduce(|best, other| if other.1 < best.1 { other } else { best }).map_or(1.0, |(scale, _)| scale)
}

/// Sum of the cross-entropies of `scale` times the logits.
fn loss(logits: &[f64], labels: &[u32], scale: f64) -> f64 {
    let classes = logits.len() / labels.len().max(1);
    let of = |(row, &y): (&[f64], &u32)| {
        let most = row.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = row.iter().map(|x| (scale * (x - most)).exp()).sum();
        sum.ln() - scale * (row[y as usize] - most)
    };
    logits.chunks(classes.max(1)).zip(labels).map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits (1 - c, c) that are right in a share q of the cases want `scale (1 - 2 c) = ln(q / (1 - q))`.
    #[test]
    fn the_scale_is_that_of_the_odds() {
        let (n, c) = (1000, 0.3);
        let logits: Vec<f64> = (0..n).flat_map(|_| [1.0 - c, c]).collect();
        for (wrong, k) in [(200, 4), (50, 6), (2, 8)] {
            let labels: Vec<u32> = (0..n).map(|i| u32::from(i < wrong)).collect();
            let best = ((f64::from(n - wrong) / f64::from(wrong)).ln() / (1.0 - 2.0 * c)).log2() * 2.0;
            assert!((best - f64::from(k)).abs() < 0.7, "{best}");
            assert_eq!(scale_of_least_loss(&logits, &labels), 2f64.powf(f64::from(k) / 2.0), "{wrong}");
        }
        assert_eq!(scale_of_least_loss(&[], &[]), 1.0);
    }
}
