//! Progress on standard error: a bar on a terminal, one line a pass elsewhere.

use std::io::{IsTerminal, Write, stderr};

use indicatif::{ProgressBar, ProgressStyle};

use crate::protocol::Watch;

/// Makes the [`Bar`]s of a run.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    live: bool,
}

impl Progress {
    /// Bars that move if standard error is a terminal.
    pub fn new() -> Self {
        Self { live: stderr().is_terminal() }
    }

    /// Starts the bar of one pass of `total` steps, called `label`.
    pub fn bar(&self, label: &str, total: u64) -> Bar {
        let bar = if self.live { ProgressBar::new(total) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(label.to_string());
        Bar { bar, label: label.into() }
    }

    /// Starts a count of steps, called `label`, whose end is not known.
    pub fn count(&self, label: &str) -> Bar {
        let bar = if self.live { ProgressBar::no_length() } else { ProgressBar::hidden() };
        bar.set_style(
            ProgressStyle::with_template("{prefix} {pos}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.set_prefix(label.to_string());
        Bar { bar, label: label.into() }
    }
}

/// Follows a run or a gathering with a bar for each of its passes.
#[derive(Debug)]
pub struct Bars {
    progress: Progress,
    bar: Option<Bar>,
}

impl Bars {
    pub fn new() -> Self {
        Self { progress: Progress::new(), bar: None }
    }
}

impl Watch for Bars {
    fn begin(&mut self, label: &str, total: usize) {
        self.bar = Some(self.progress.bar(label, total as u64));
    }

    fn advance(&mut self, n: usize) {
        if let Some(bar) = &self.bar {
            bar.inc(n as u64);
        }
    }

    fn end(&mut self, message: &str) {
        if let Some(bar) = self.bar.take() {
            bar.finish(message);
        }
    }
}

/// The progress of one pass. Dropped unfinished, it leaves nothing behind.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    label: String,
}

impl Bar {
    /// Moves on by `n` steps.
    pub fn inc(&self, n: u64) {
        self.bar.inc(n);
    }

    /// Removes the bar and prints the line `label: message`.
    pub fn finish(self, message: &str) {
        self.bar.finish_and_clear();
        // A closed standard error is no reason to end a run.
        let _ = writeln!(stderr(), "{}: {message}", self.label);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
