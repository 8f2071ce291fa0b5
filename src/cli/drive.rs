//! A run from its first step, or any later one, to its last: what is saved when.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pollster::block_on;

use super::show::{Show, ShownArgs};
use crate::protocol::{Progress, Session, Watch};
use crate::{Error, Result};

/// Exit code of a run that was interrupted, as shells have it for Ctrl-C.
pub(super) const INTERRUPTED: u8 = 130;

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
pub(super) fn drive(
    mut session: Session,
    intro: &[String],
    keep: Option<&Keep<'_>>,
    shown: ShownArgs,
) -> Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    let mut show = Show::begin(&session, intro, keep.map(|keep| keep.dir), shown)?;
    let mut steps = Steps::new(keep, &interrupt);
    loop {
        let now = steps.go_on(&mut session, &mut show)?;
        show.print()?;
        match now {
            Now::Further => {}
            Now::Over => break,
            Now::Stopped => {
                show.stopped()?;
                return Ok(ExitCode::from(INTERRUPTED));
            }
        }
    }
    show.finished(&session)?;
    Ok(ExitCode::SUCCESS)
}
