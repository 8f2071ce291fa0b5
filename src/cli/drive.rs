//! A run from its first step, or any later one, to its last: what is printed, and what is saved when.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pollster::block_on;

use super::progress::Bars;
use super::{line, written};
use crate::protocol::{Metrics, Progress, Session, Watch};
use crate::{Error, Result, report};

/// Exit code of a run that was interrupted, as shells have it for Ctrl-C.
pub(super) const INTERRUPTED: u8 = 130;

/// Standard output; a reader who leaves does not end a run that is saved.
struct Output {
    saved: bool,
    closed: bool,
}

impl Output {
    fn line(&mut self, text: &str) -> Result<()> {
        if !self.saved {
            return line(text);
        }
        self.closed = self.closed || !written(text)?;
        Ok(())
    }
}

/// Bars, and the row of the task that was judged last.
struct Table {
    bars: Bars,
    row: Option<String>,
}

impl Watch for Table {
    fn task(&mut self, metrics: &Metrics, _: &[u32], seconds: f64) {
        self.row = Some(report::row(metrics, seconds));
    }

    fn begin(&mut self, label: &str, total: usize) {
        self.bars.begin(label, total);
    }

    fn advance(&mut self, n: usize) {
        self.bars.advance(n);
    }

    fn end(&mut self, message: &str) {
        self.bars.end(message);
    }
}

/// Where a run is kept, and how often it is saved within a step of a task.
pub(super) struct Keep<'a> {
    pub dir: &'a Path,
    pub every: Duration,
}

/// Whether Ctrl-C was heard.
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on; once in a process. The second Ctrl-C does what the first would have done without this.
    pub fn listen() -> Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let heard = interrupted.clone();
        let listens = ctrlc::set_handler(move || {
            if heard.swap(true, Ordering::Relaxed) {
                std::process::exit(i32::from(INTERRUPTED));
            }
        });
        listens.map_err(|e| Error::Unsupported(format!("no handler for Ctrl-C: {e}")))?;
        Ok(Self(interrupted))
    }
}

/// Where a session is after a step.
pub(super) enum Now {
    Further,
    Over,
    /// It was interrupted, and saved if it is kept.
    Stopped,
}

/// The steps of a session, and its saves between them.
pub(super) struct Steps<'a> {
    keep: Option<&'a Keep<'a>>,
    interrupt: &'a Interrupt,
    saved: Instant,
}

impl<'a> Steps<'a> {
    pub fn new(keep: Option<&'a Keep<'a>>, interrupt: &'a Interrupt) -> Self {
        Self { keep, interrupt, saved: Instant::now() }
    }

    /// One step further; what is due is saved.
    pub fn go_on(&mut self, session: &mut Session, watch: &mut dyn Watch) -> Result<Now> {
        let progress = block_on(session.step(watch))?;
        let stopped = self.interrupt.0.load(Ordering::Relaxed);
        if let Some(keep) = self.keep {
            let due = match progress {
                Progress::Step => stopped || self.saved.elapsed() >= keep.every,
                Progress::Stage | Progress::Task => true,
                Progress::Done => false,
            };
            if due {
                block_on(session.save(keep.dir))?;
                self.saved = Instant::now();
            }
            if matches!(progress, Progress::Task | Progress::Done) {
                session.results().write(keep.dir)?;
            }
        }
        Ok(match progress {
            Progress::Done => Now::Over,
            _ if stopped => Now::Stopped,
            _ => Now::Further,
        })
    }
}

/// Takes the session to its end, or to an interruption.
pub(super) fn drive(mut session: Session, intro: &[String], keep: Option<&Keep<'_>>) -> Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    let mut out = Output { saved: keep.is_some(), closed: false };
    intro.iter().try_for_each(|text| out.line(text))?;
    out.line(&planned(&session))?;
    session.notes().iter().for_each(|note| eprintln!("note: {}", super::one_line(note)));
    out.line(&report::header())?;
    let mut table = Table { bars: Bars::new(), row: None };
    let mut steps = Steps::new(keep, &interrupt);
    loop {
        let now = steps.go_on(&mut session, &mut table)?;
        if let Some(row) = table.row.take() {
            out.line(&row)?;
        }
        match now {
            Now::Further => {}
            Now::Over => break,
            Now::Stopped => return stop(keep),
        }
    }
    summary(&session, keep, &mut out)?;
    Ok(ExitCode::SUCCESS)
}

/// What the run will take of the device's memory.
fn planned(session: &Session) -> String {
    let memory = session.memory();
    let mut text = format!("memory: {} MiB for tensors on the device", memory.planned_bytes.div_ceil(1 << 20));
    if memory.training_part < memory.training_batch {
        text += &format!(", {} of {} training images at once", memory.training_part, memory.training_batch);
    }
    if memory.recomputed {
        text += ", blocks computed once more";
    }
    text
}

fn stop(keep: Option<&Keep<'_>>) -> Result<ExitCode> {
    match keep {
        Some(keep) => eprintln!("stopped and saved; go on with: minoise run --resume {}", keep.dir.display()),
        None => eprintln!("stopped; nothing is saved without --out DIR"),
    }
    Ok(ExitCode::from(INTERRUPTED))
}

fn summary(session: &Session, keep: Option<&Keep<'_>>, out: &mut Output) -> Result<()> {
    let measured = session.results().measured;
    out.line(&report::summary(&measured.metrics))?;
    let s = &measured.seconds;
    out.line(&format!(
        "time        {:.1} s (analytic {:.1}, noise {:.1}, evaluation {:.1}, compilation {:.1}, saving {:.1}; waiting for images {:.1}), peak {} MiB{}, {} dispatches",
        s.total,
        s.analytic,
        s.noise,
        s.eval,
        s.compile,
        s.save,
        s.data,
        measured.peak_device_bytes >> 20,
        measured.peak_host_bytes.map_or(String::new(), |bytes| format!(" of the device, {} MiB of the process", bytes >> 20)),
        measured.dispatches
    ))?;
    if let Some(keep) = keep {
        out.line(&format!("results     {}", keep.dir.join("results.json").display()))?;
        out.line(&format!("model       {}", keep.dir.join("model.safetensors").display()))?;
    }
    Ok(())
}
