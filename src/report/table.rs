//! The table of accuracies, line by line as the run goes. Percent throughout.

use crate::report::{Measured, Metrics};

/// The most per-task accuracies in a line; more are cut in the middle.
const MAX_TASKS: usize = 10;

/// The last accuracies that stay of a cut line.
const MAX_LAST: usize = 8;

/// The line above the rows.
pub fn header() -> String {
    format!(
        "{:>4}  {:>7}  {:>6}  {:>6}  {:>8}  on the classes of task 0, 1, ...",
        "task", "classes", "A_t", "avg", "seconds"
    )
}

/// The line of the last task in `metrics`: task, classes seen, `A_t`, the mean of `A_0 ..= A_t`, the seconds that the task
/// took, and `a[t][0 ..= t]` (of more than ten tasks the first and the last eight).
pub fn row(metrics: &Metrics, seconds: f64) -> String {
    let tasks = metrics.accuracy.len();
    let line = format!(
        "{:>4}  {:>7}  {:>6.2}  {:>6.2}  {seconds:>8.1}  ",
        tasks.saturating_sub(1),
        metrics.per_class.len(),
        100.0 * metrics.a_last,
        100.0 * metrics.a_avg,
    );
    let own = metrics.matrix.last().map_or(&[][..], Vec::as_slice);
    let cells: Vec<String> = own.iter().map(|value| format!("{:.2}", 100.0 * value)).collect();
    if cells.len() <= MAX_TASKS {
        line + &cells.join(" ")
    } else {
        line + &cells[0] + " .. " + &cells[cells.len() - MAX_LAST..].join(" ")
    }
}

/// The lines below the rows: `A_last`, `A_avg`, forgetting and BWT.
pub fn summary(metrics: &Metrics) -> String {
    [("A_last", metrics.a_last), ("A_avg", metrics.a_avg), ("forgetting", metrics.forgetting), ("BWT", metrics.bwt)]
        .map(|(name, value)| format!("{name:<10}  {:>6.2} %", 100.0 * value))
        .join("\n")
}

/// The line of what the run took: seconds, memory, dispatches.
pub fn costs(measured: &Measured) -> String {
    let (s, host) = (&measured.seconds, measured.peak_host_bytes.map(|bytes| bytes >> 20));
    format!(
        "time        {:.1} s (analytic {:.1}, noise {:.1}, evaluation {:.1}, compilation {:.1}, saving {:.1}; waiting for images {:.1}), peak {} MiB{}, {} dispatches",
        s.total,
        s.analytic,
        s.noise,
        s.eval,
        s.compile,
        s.save,
        s.data,
        measured.peak_device_bytes >> 20,
        host.map_or(String::new(), |mib| format!(" of the device, {mib} MiB of the process")),
        measured.dispatches
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(tasks: usize) -> Metrics {
        Metrics {
            accuracy: vec![1.0; tasks],
            matrix: (1..=tasks).map(|n| (0..n).map(|i| 1.0 - i as f64 / 64.0).collect()).collect(),
            a_last: 0.85934,
            a_avg: 1.0,
            forgetting: 0.05,
            bwt: -0.0425,
            per_class: vec![Some(1.0); 10 * tasks],
            confusion: vec![],
        }
    }

    #[test]
    fn rows_stand_under_the_header() {
        assert_eq!(header(), "task  classes     A_t     avg   seconds  on the classes of task 0, 1, ...");
        assert_eq!(row(&metrics(2), 3.13), "   1       20   85.93  100.00       3.1  100.00 98.44");
    }

    #[test]
    fn rows_stay_within_110_columns() {
        let mut all_right = metrics(10);
        all_right.matrix = vec![vec![1.0; 10]];
        assert_eq!(row(&all_right, 12345.6).len(), 110);
        all_right.matrix = vec![vec![1.0; 100]];
        assert!(row(&all_right, 1.0).len() <= 110);
        assert!(row(&metrics(20), 1.0).ends_with("100.00 .. 81.25 79.69 78.12 76.56 75.00 73.44 71.88 70.31"));
    }

    #[test]
    fn summary_has_four_lines() {
        let expected = "A_last       85.93 %\nA_avg       100.00 %\nforgetting    5.00 %\nBWT          -4.25 %";
        assert_eq!(summary(&metrics(2)), expected);
    }
}
