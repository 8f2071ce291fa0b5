//! What is told of a run as it goes: a table with bars beside it, or lines of JSON.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::progress::Bars;
use super::{line, one_line, written};
use crate::protocol::{Metrics, Pass, Session, Watch};
use crate::report::{self, Results};
use crate::{Error, Result};

/// How a run is told of as it goes.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct ShownArgs {
    /// Tell nothing of passes: the table alone.
    #[arg(long)]
    quiet: bool,
    /// For programs: a line of JSON for the beginning, every pass, every task and the end.
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
}

/// Tells of one run. What it hears as a [`Watch`] is printed by [`Show::print`].
#[derive(Debug)]
pub(super) struct Show {
    json: bool,
    bars: Option<Bars>,
    /// The directory where the run is kept; a reader of standard output who leaves then does not end it.
    dir: Option<PathBuf>,
    closed: bool,
    lines: Vec<String>,
}

impl Show {
    /// Prints `intro`, what the user should know, and the head of the table.
    ///
    /// # Errors
    /// Those of standard output.
    pub fn begin(session: &Session, intro: &[String], dir: Option<&Path>, shown: ShownArgs) -> Result<Self> {
        let ShownArgs { quiet, json } = shown;
        let bars = (!quiet && !json).then(|| Bars::of(session.tasks()));
        let mut show = Self { json, bars, dir: dir.map(Path::to_owned), closed: false, lines: Vec::new() };
        if json {
            let Results { version, method, profile, device, seed, config, memory, .. } = session.results();
            let (tasks, done) = session.tasks();
            show.event(json!({
                "event": "begin", "version": version, "device": device, "data": config.data, "weights": config.weights,
                "method": method, "profile": profile, "seed": seed, "tasks": tasks, "done": done,
                "planned_bytes": memory.planned_bytes, "notes": session.notes(),
            }));
        } else {
            show.lines.extend_from_slice(intro);
            show.lines.push(planned(session));
            session.notes().iter().for_each(|note| eprintln!("note: {}", one_line(note)));
            show.lines.push(report::header());
        }
        show.print()?;
        Ok(show)
    }

    fn event(&mut self, event: Value) {
        self.lines.push(event.to_string());
    }

    /// Prints what was heard since the last time.
    ///
    /// # Errors
    /// Those of standard output.
    pub fn print(&mut self) -> Result<()> {
        for text in std::mem::take(&mut self.lines) {
            let print = || if self.dir.is_none() { line(&text).map(|()| true) } else { written(&text) };
            if !self.closed {
                let open = self.bars.as_ref().map_or_else(print, |bars| bars.beside(print))?;
                self.closed = !open;
            }
        }
        Ok(())
    }

    /// How to go on after an interruption.
    ///
    /// # Errors
    /// Those of standard output.
    pub fn stopped(mut self) -> Result<()> {
        self.bars = None;
        if self.json {
            self.event(json!({ "event": "stopped", "resume": self.dir }));
            return self.print();
        }
        match &self.dir {
            Some(dir) => eprintln!("stopped and saved; go on with: minoise run --resume {}", dir.display()),
            None => eprintln!("stopped; nothing is saved without --out DIR"),
        }
        Ok(())
    }

    /// The results.
    ///
    /// # Errors
    /// Those of standard output.
    pub fn finished(mut self, session: &Session) -> Result<()> {
        self.bars = None;
        let results = session.results();
        let kept = self.dir.as_ref().map(|dir| [dir.join(report::RESULTS_FILE), dir.join("model.safetensors")]);
        if self.json {
            let measured = serde_json::to_value(&results.measured).map_err(|e| Error::Unsupported(e.to_string()))?;
            let [results, model] = kept.map_or([None, None], |files| files.map(Some));
            self.event(json!({ "event": "end", "results": results, "model": model, "measured": measured }));
            return self.print();
        }
        self.lines.push(report::summary(&results.measured.metrics));
        self.lines.push(report::costs(&results.measured));
        for (what, file) in ["results", "model"].iter().zip(kept.iter().flatten()) {
            self.lines.push(format!("{what:<11} {}", file.display()));
        }
        self.print()
    }
}

impl Watch for Show {
    fn task(&mut self, metrics: &Metrics, _: &[u32], seconds: f64) {
        if let Some(bars) = &mut self.bars {
            bars.task(metrics.a_last, seconds);
        }
        if self.json {
            let (task, classes) = (metrics.accuracy.len().saturating_sub(1), metrics.per_class.len());
            let own = metrics.matrix.last();
            self.event(json!({
                "event": "task", "task": task, "classes": classes, "accuracy": metrics.a_last, "mean": metrics.a_avg,
                "tasks": own, "seconds": seconds,
            }));
        } else {
            self.lines.push(report::row(metrics, seconds));
        }
    }

    fn begin(&mut self, task: usize, what: &str, total: usize) {
        if let Some(bars) = &mut self.bars {
            bars.begin(task, what, total);
        }
    }

    fn advance(&mut self, n: usize) {
        if let Some(bars) = &mut self.bars {
            bars.advance(n);
        }
    }

    fn end(&mut self, pass: &Pass<'_>) {
        if let Some(bars) = &mut self.bars {
            bars.end(pass);
        }
        if self.json {
            let Pass { task, what, items, loss, seconds } = *pass;
            self.event(json!({
                "event": "pass", "task": task, "what": what, "items": items, "loss": loss, "seconds": seconds,
            }));
        }
    }
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
