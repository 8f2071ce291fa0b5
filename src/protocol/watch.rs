//! Who follows a run, and what it hears.

use crate::host::Instant;
use crate::method::{Observer, Phase};
use crate::protocol::Metrics;

/// Follows a run.
pub trait Watch {
    /// Called after every task.
    ///
    /// `predicted` holds the new label given to every judged image of the classes seen, in their order;
    /// `seconds` is the time that the task took, learning and judging.
    fn task(&mut self, _metrics: &Metrics, _predicted: &[u32], _seconds: f64) {}
    /// Something that the user should know of the settings, before the first task.
    fn note(&mut self, _text: &str) {}
    /// A pass over `total` images begins.
    fn begin(&mut self, _label: &str, _total: usize) {}
    /// `n` more images are done.
    fn advance(&mut self, _n: usize) {}
    /// The pass is over; `message` tells its loss and time.
    fn end(&mut self, _message: &str) {}
}

/// Nobody.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Watch for Unwatched {}

/// Tells a watch what a method does in a task.
pub(super) struct Meter<'a> {
    watch: &'a mut dyn Watch,
    task: usize,
    /// When the pass began.
    start: &'a mut Instant,
}

impl<'a> Meter<'a> {
    pub fn new(watch: &'a mut dyn Watch, task: usize, start: &'a mut Instant) -> Self {
        Self { watch, task, start }
    }
}

impl Observer for Meter<'_> {
    fn begin(&mut self, _: Phase, what: &str, total: usize) {
        self.watch.begin(&format!("task {}, {what}", self.task), total);
        *self.start = Instant::now();
    }

    fn advance(&mut self, n: usize) {
        self.watch.advance(n);
    }

    fn end(&mut self, _: Phase, loss: Option<f64>) {
        let loss = loss.map_or(String::new(), |l| format!("loss {l:.4}, "));
        self.watch.end(&format!("{loss}{:.1} s", self.start.elapsed().as_secs_f64()));
    }
}
