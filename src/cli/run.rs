//! `minoise run`

use std::process::ExitCode;

use pollster::block_on;

use super::progress::Bars;
use super::{RunArgs, line};
use crate::config::Config;
use crate::data::{self, Dataset};
use crate::device::{Device, Selector};
use crate::protocol::{self, Metrics, Watch};
use crate::{Result, report};

/// Prints a row a task and keeps the last metrics.
struct Table {
    printed: Result<()>,
    last: Metrics,
    bars: Bars,
}

impl Watch for Table {
    fn task(&mut self, metrics: &Metrics, _: &[u32], seconds: f64) {
        let printed = line(&report::row(metrics, seconds));
        self.printed = std::mem::replace(&mut self.printed, Ok(())).and(printed);
        self.last = metrics.clone();
    }

    fn note(&mut self, text: &str) {
        eprintln!("note: {}", super::one_line(text));
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

pub(super) fn run(args: RunArgs) -> Result<ExitCode> {
    let mut config = Config::load(args.profile, args.config.as_deref(), &args.set)?;
    config.seed = args.seed.unwrap_or(config.seed);
    if let Some(dir) = &args.out {
        report::check_writable(dir)?;
    }
    let dataset = data::load(&config.data, &config.images)?;
    let device = block_on(Device::open(&Selector::from_flag_or_env(args.device.as_deref())))?;
    let tuned = if device.caps().tuned.is_empty() { "" } else { ", tuned" };
    line(&format!("device: {}{tuned}", device.name()))?;
    line(&format!("data:   {}", described(&dataset)))?;
    line(&report::header())?;
    let mut table = Table { printed: Ok(()), last: Metrics::default(), bars: Bars::new() };
    let results = block_on(protocol::run(&config, &device, &dataset, &mut table))?;
    table.printed?;
    line(&report::summary(&table.last))?;
    let s = &results.seconds;
    line(&format!(
        "time        {:.1} s (analytic {:.1}, noise {:.1}, evaluation {:.1}, compilation {:.1}; waiting for images {:.1}), peak {} MiB, {} dispatches",
        s.total,
        s.analytic,
        s.noise,
        s.eval,
        s.compile,
        s.data,
        results.peak_device_bytes >> 20,
        results.dispatches
    ))?;
    if let Some(dir) = &args.out {
        line(&format!("results     {}", results.write(dir)?.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn described(data: &Dataset) -> String {
    let (classes, train) = (data.classes.len(), data.train.len());
    let judged = match data.held_out.len() {
        0 => format!("{} test", data.test.len()),
        n => format!("{n} held-out"),
    };
    let bad = match data.bad.as_slice() {
        [] => String::new(),
        [first, rest @ ..] => {
            format!(", {} unreadable left out ({first}{})", data.bad.len(), if rest.is_empty() { "" } else { ", ..." })
        }
    };
    format!("{}, {classes} classes, {train} training and {judged} images{bad}", data.name)
}
