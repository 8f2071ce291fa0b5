//! Numbers as tables say them.

use super::Spread;

/// A share as a percentage without its sign.
pub(super) fn hundredths(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}

/// Bytes, counted in MiB.
pub(crate) fn mib(bytes: f64) -> String {
    format!("{:.1}", bytes / f64::from(1 << 20))
}

/// A mean with its deviation, if there is one.
pub(super) fn spread(spread: Spread, say: fn(f64) -> String) -> String {
    let mean = say(spread.mean);
    spread.deviation.map_or_else(|| mean.clone(), |d| format!("{mean} ± {}", say(d)))
}
