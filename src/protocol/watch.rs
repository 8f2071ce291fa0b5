//! Who follows a run, and what it hears. Programs that collect traces see the same by the crate `tracing`: a span for every
//! task and, in it, for every pass, with an event where one is over.

use crate::host::Instant;
use crate::method::{Observer, Phase};
use crate::protocol::Metrics;

/// A pass over images that is over, or what this process did of it.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Pass<'a> {
    /// The task, counted from 0.
    pub task: usize,
    /// What the pass was for.
    pub what: &'a str,
    /// Images that it went over; of a solve the columns.
    pub items: usize,
    /// The mean loss, where there is one.
    pub loss: Option<f64>,
    /// How long it took.
    pub seconds: f64,
}

impl Pass<'_> {
    /// Items a second.
    pub fn rate(&self) -> f64 {
        self.items as f64 / self.seconds.max(1e-9)
    }
}

/// Follows a run.
pub trait Watch {
    /// Called after every task.
    ///
    /// `predicted` holds the new label given to every judged image of the classes seen, in their order;
    /// `seconds` is the time that the task took, learning and judging.
    fn task(&mut self, _metrics: &Metrics, _predicted: &[u32], _seconds: f64) {}
    /// Something that the user should know of the settings, before the first task.
    fn note(&mut self, _text: &str) {}
    /// A pass over `total` images begins, or goes on.
    fn begin(&mut self, _task: usize, _what: &str, _total: usize) {}
    /// `n` more images are done.
    fn advance(&mut self, _n: usize) {}
    /// The pass is over.
    fn end(&mut self, _pass: &Pass<'_>) {}
}

/// Nobody.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Watch for Unwatched {}

/// The pass that is under way, if any.
#[derive(Debug)]
pub(super) struct UnderWay {
    what: String,
    items: usize,
    start: Instant,
    span: tracing::Span,
}

impl UnderWay {
    pub fn nothing() -> Self {
        Self { what: String::new(), items: 0, start: Instant::now(), span: tracing::Span::none() }
    }

    /// The span of the pass.
    pub fn span(&self) -> tracing::Span {
        self.span.clone()
    }
}

/// Tells a watch what a method does in a task.
pub(super) struct Meter<'a> {
    watch: &'a mut dyn Watch,
    task: usize,
    pass: &'a mut UnderWay,
}

impl<'a> Meter<'a> {
    pub fn new(watch: &'a mut dyn Watch, task: usize, pass: &'a mut UnderWay) -> Self {
        Self { watch, task, pass }
    }
}

impl Observer for Meter<'_> {
    fn begin(&mut self, _: Phase, what: &str, total: usize) {
        self.watch.begin(self.task, what, total);
        let span = tracing::info_span!("pass", task = self.task, what, total);
        *self.pass = UnderWay { what: what.into(), items: 0, start: Instant::now(), span };
    }

    fn advance(&mut self, n: usize) {
        self.watch.advance(n);
        self.pass.items += n;
    }

    fn end(&mut self, _: Phase, loss: Option<f64>) {
        let UnderWay { what, items, start, span } = std::mem::replace(self.pass, UnderWay::nothing());
        let pass = Pass { task: self.task, what: &what, items, loss, seconds: start.elapsed().as_secs_f64() };
        span.in_scope(|| tracing::info!(items, loss, seconds = pass.seconds, "pass over"));
        self.watch.end(&pass);
    }
}
