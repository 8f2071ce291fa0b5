//! Progress on standard error: a bar on a terminal, one line a pass elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};

use crate::protocol::{Pass, Watch};

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
        bar.set_style(styled("{prefix} {wide_bar} {pos}/{len} {eta}"));
        bar.set_prefix(label.to_string());
        Bar { bar, label: label.into() }
    }

    /// Starts a count of steps, called `label`, whose end is not known.
    pub fn count(&self, label: &str) -> Bar {
        let bar = if self.live { ProgressBar::no_length() } else { ProgressBar::hidden() };
        bar.set_style(styled("{prefix} {pos}"));
        bar.set_prefix(label.to_string());
        Bar { bar, label: label.into() }
    }
}

/// Follows a run or a gathering: a bar for all tasks, and one for the pass under way.
#[derive(Debug)]
pub struct Bars {
    all: MultiProgress,
    progress: Progress,
    tasks: ProgressBar,
    /// Tasks, and seconds they took, of this process.
    done: (u64, f64),
    pass: Option<Bar>,
}

impl Bars {
    /// Without a bar for tasks.
    pub fn of_passes() -> Self {
        let (all, progress) = (MultiProgress::new(), Progress::new());
        Self { all, progress, tasks: ProgressBar::hidden(), done: (0, 0.0), pass: None }
    }

    /// For so many tasks, of which some are done.
    pub fn of((tasks, done): (usize, usize)) -> Self {
        let mut bars = Self::of_passes();
        if bars.progress.live {
            bars.tasks = bars.all.add(ProgressBar::new(tasks as u64));
            bars.tasks.set_style(styled("{wide_bar} {pos}/{len} tasks{msg}"));
            bars.tasks.set_position(done as u64);
        }
        bars
    }

    /// Prints beside the bars.
    pub fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.all.suspend(print)
    }

    /// A task is over.
    pub fn task(&mut self, accuracy: f64, seconds: f64) {
        self.done = (self.done.0 + 1, self.done.1 + seconds);
        self.tasks.inc(1);
        let left = self.tasks.length().unwrap_or(0).saturating_sub(self.tasks.position());
        let left = HumanDuration(Duration::from_secs_f64(self.done.1 / self.done.0 as f64 * left as f64));
        self.tasks.set_message(format!(", {:.2} % right, about {left} left", 100.0 * accuracy));
    }
}

impl Watch for Bars {
    fn begin(&mut self, task: usize, what: &str, total: usize) {
        let bar = self.progress.bar(&format!("task {task}, {what}"), total as u64);
        bar.bar.set_style(styled("{prefix} {wide_bar} {pos}/{len} {per_sec} {eta}"));
        if self.progress.live {
            self.all.add(bar.bar.clone());
        }
        self.pass = Some(bar);
    }

    fn advance(&mut self, n: usize) {
        if let Some(bar) = &self.pass {
            bar.inc(n as u64);
        }
    }

    fn end(&mut self, pass: &Pass<'_>) {
        if let Some(bar) = self.pass.take() {
            let loss = pass.loss.map_or(String::new(), |loss| format!("loss {loss:.4}, "));
            let message = format!("{loss}{:.1} s, {:.0}/s", pass.seconds, pass.rate());
            self.all.suspend(|| bar.finish(&message));
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.pass = None;
        self.tasks.finish_and_clear();
    }
}

fn styled(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
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
