//! The tables of a profile.

use super::{Profile, Row, Step};
use crate::report::Spread;
use crate::report::say::{mib, spread};

/// What kernels may be short of the wall time.
const SHORT: f64 = 0.05;
/// The widest column; what a file brings may be longer than a width can be.
pub(super) const MOST: usize = 200;

impl Profile {
    /// What was measured, and the tables by kernel, by phase and by part.
    pub fn table(&self) -> String {
        let mut lines = self.head();
        if self.missing > 0 {
            let why = "more than a profile holds, or no memory for their timestamps";
            lines.push(format!("missing:  {} dispatches that no table counts: {why}", self.missing));
        }
        let tables = [("kernel", &self.kernels, false), ("phase", &self.phases, true), ("part", &self.parts, true)];
        for (title, rows, host) in tables {
            // What is the same for all of them says nothing.
            if rows.iter().any(|row| !row.name.is_empty()) {
                lines.push(String::new());
                lines.extend(self.rows(title, rows, host));
            }
        }
        lines.join("\n")
    }

    fn head(&self) -> Vec<String> {
        let of = |field: fn(&Step) -> f64| self.of_steps(field);
        let (wall, kernels, n) = (of(|s| s.wall), of(|s| s.kernels).mean, self.steps.len());
        let mut step = format!("step:     {} ms", spread(wall, ms));
        if n > 1 {
            step += &format!(", {n} times");
        }
        if !self.plain.is_empty() {
            let plain = Spread::of(&self.plain);
            // Neighbours, since the machine itself may become faster or slower from step to step.
            let cost = median(self.steps.iter().zip(&self.plain).map(|(with, without)| with.wall / without - 1.0));
            step += &format!("; {} ms without profiling, which costs {:.1} %", spread(plain, ms), 100.0 * cost);
        }
        let mut add_up = format!("kernels:  {} ms, {:.1} % of it", ms(kernels), 100.0 * self.covered());
        if (1.0 - self.covered()).abs() > SHORT {
            let (before, after) = (of(|s| s.before).mean, of(|s| s.after).mean);
            let between = wall.mean - kernels - before - after;
            add_up += ", NOT within 5 %: ";
            add_up += &match between < 0.0 {
                true => "some ran beside each other".into(),
                false => format!(
                    "no kernel ran for {} ms before the first, {} ms between them and {} ms after the last",
                    ms(before),
                    ms(between),
                    ms(after)
                ),
            };
        }
        let (host, recording) = (of(|s| s.host).mean, of(|s| s.recording).mean);
        let (submitting, waiting, compiling) =
            (of(|s| s.submitting).mean, of(|s| s.waiting).mean, of(|s| s.compiling).mean);
        let calls: f64 = self.kernels.iter().map(|row| row.calls).sum();
        let m = &self.moved;
        vec![
            format!("profile:  {}, {}", self.what, self.of),
            format!("device:   {}; roof {:.1} GFLOP/s, {:.1} GB/s", self.device, self.roof.gflops, self.roof.gbytes),
            step,
            add_up,
            format!(
                "host:     {} ms at work (recording {}), {} submitting, {} waiting, {} compiling; {} pipelines in {:.2} s",
                ms(host),
                ms(recording),
                ms(submitting),
                ms(waiting),
                ms(compiling),
                self.compilation.pipelines,
                self.compilation.seconds
            ),
            format!(
                "moved:    {calls:.0} dispatches read {} MiB and wrote {}; {} uploaded, {} read back, {} copied",
                mib(m.read),
                mib(m.written),
                mib(m.uploaded),
                mib(m.read_back),
                mib(m.copied)
            ),
        ]
    }

    fn rows(&self, title: &str, rows: &[Row], host: bool) -> Vec<String> {
        let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max(title.len()).min(MOST);
        let all = self.of_steps(|step| step.kernels).mean;
        let last = if host { "  host ms" } else { "" };
        let head = format!(
            "{title:<width$}  {:>6}  {:>9}  {:>8}  {:>9}  {:>7}  {:>8}  {:>7}  {:>6}{last}",
            "calls", "ms", "+-", "us a call", "share", "GFLOP/s", "GB/s", "% roof"
        );
        let line = |row: &Row| {
            let Spread { mean, deviation } = row.spread();
            let rate = |x: f64| x * 1e-9 / mean;
            let [share, gflops, gbytes, percent] = match mean > 0.0 {
                true => [
                    format!("{:.1} %", 100.0 * mean / all),
                    if row.flops > 0.0 { format!("{:.1}", rate(row.flops)) } else { String::new() },
                    format!("{:.2}", rate(row.bytes())),
                    format!("{:.1}", self.roof.percent(row.flops, row.bytes(), mean)),
                ],
                false => Default::default(),
            };
            let name = if row.name.is_empty() { "-" } else { &row.name };
            let each = if row.calls > 0.0 { format!("{:.1}", 1e6 * mean / row.calls) } else { String::new() };
            let host = if host { format!("  {:>7}", ms(row.host)) } else { String::new() };
            let deviation = deviation.map_or(String::new(), ms);
            format!(
                "{name:<width$}  {:>6.0}  {:>9}  {deviation:>8}  {each:>9}  {share:>7}  {gflops:>8}  {gbytes:>7}  {percent:>6}{host}",
                row.calls,
                ms(mean),
            )
        };
        std::iter::once(head).chain(rows.iter().map(line)).collect()
    }
}

/// Milliseconds.
pub(super) fn ms(seconds: f64) -> String {
    let ms = 1e3 * seconds;
    let digits = if ms.abs() < 0.9995 { 3 } else { 2 };
    format!("{ms:.digits$}")
}

/// The middle one of some values, of which there is at least one: a step that was disturbed does not count.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    (all[(all.len() - 1) / 2] + all[all.len() / 2]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::super::tests::profile;
    use super::*;

    #[test]
    fn a_table_says_all_that_was_measured() {
        let table = profile().table();
        let line = |start: &str| table.lines().find(|line| line.starts_with(start)).expect(start);
        assert_eq!(
            line("step:"),
            "step:     11.00 ± 1.41 ms, 2 times; 10.50 ± 0.707 ms without profiling, which costs 4.5 %"
        );
        assert_eq!(line("kernels:"), "kernels:  10.50 ms, 95.5 % of it");
        let words: Vec<_> = line("gemm").split_whitespace().collect();
        assert_eq!(words, ["gemm", "4", "8.50", "0.707", "2125.0", "81.0", "%", "47.1", "0.18", "47.1"]);
        let words: Vec<_> = line("copy_block").split_whitespace().collect();
        assert_eq!(
            words,
            ["copy_block", "4", "2.00", "0.707", "500.0", "19.0", "%", "0.75", "7.5"],
            "no FLOP, no rate"
        );
        assert!(line("forward").ends_with("0.100") && line("block 0").ends_with("0.100"));
        let columns: Vec<_> = table.lines().skip(7).filter(|l| !l.is_empty()).map(|l| l.chars().count()).collect();
        assert_eq!(columns, [86, 86, 86, 92, 92, 92, 92], "{table}");
    }

    #[test]
    fn what_is_short_is_said() {
        let mut short = profile();
        short.steps.iter_mut().for_each(|step| step.kernels = 0.7 * step.wall);
        assert!(short.table().contains("70.0 % of it, NOT within 5 %: no kernel ran for 0.100 ms before the first"));
        short.steps.iter_mut().for_each(|step| step.kernels = 1.2 * step.wall);
        assert!(short.table().contains("120.0 % of it, NOT within 5 %: some ran beside each other"));
        let run = Profile { steps: vec![short.steps[0]], plain: Vec::new(), ..short };
        assert!(run.table().contains("step:     10.00 ms\n"), "{}", run.table());
        assert!(!run.table().contains("missing:"));
        assert!(Profile { missing: 7, ..run }.table().contains("\nmissing:  7 dispatches"));
    }

    #[test]
    fn medians_of_even_and_odd_numbers() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }
}
