//! Numbers as the page says them.

/// A share as percent with its sign.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// A number that is a percentage already.
pub(super) fn tenths(x: f64) -> String {
    format!("{x:.1}")
}

/// In as many digits as tell something.
pub(super) fn digits(x: f64) -> String {
    match x.abs() {
        size if size < 1e6 && size.fract() == 0.0 => format!("{x:.0}"),
        0.001..1.0 => format!("{x:.3}"),
        1.0..10.0 => format!("{x:.2}"),
        10.0..100.0 => format!("{x:.1}"),
        100.0..1e6 => format!("{x:.0}"),
        _ => format!("{x:.1e}"),
    }
}

/// Seconds.
pub(super) fn seconds(x: f64) -> String {
    if x < 10.0 { format!("{x:.2} s") } else { format!("{x:.1} s") }
}

/// Seconds, counted in ms.
pub(super) fn ms(x: f64) -> String {
    format!("{} ms", digits(1e3 * x))
}
