//! `minoise bench`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use pollster::block_on;

use super::{line, one_line, say};
use crate::Result;
use crate::bench::{Comparison, Failure, Figure, Listener, bench as measure};
use crate::device::{Device, Selector, adapters};
use crate::roofline::Roofline;
use crate::store::{check_replaceable, replace};

#[derive(Debug, clap::Args)]
pub(super) struct BenchArgs {
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Time for all samples together, beside the roof, the checks and the compiler; what is slow gets one sample at least.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    seconds: f64,
    /// The file of device, driver, version, settings and figures, as JSON.
    #[arg(long, value_name = "FILE", default_value = "minoise-bench.json")]
    out: PathBuf,
}

/// Reads seconds up to an hour.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "seconds from 0 to 3600 are needed".into())
}

/// Prints the table as it grows.
struct Printer(Result<()>);

impl Printer {
    fn print(&mut self, text: &str) {
        let printed = say(text.trim_end(), true);
        self.0 = std::mem::replace(&mut self.0, Ok(())).and(printed);
    }
}

impl Listener for Printer {
    fn roofline(&mut self, roofline: &Roofline) {
        self.print(&roofline.to_string());
        self.print(&format!(
            "{:<14} {:<27} {:<13} {:>9} {:>6} {:>7} {:>9} {:>7} {:>6} {:>8}",
            "question", "shape", "variant", "ms", "+- %", "samples", "GFLOP/s", "GB/s", "% roof", "images/s"
        ));
    }

    fn figure(&mut self, figure: &Figure) {
        let Figure { question, shape, variant, seconds, gflops, gbytes, percent_of_roof, images_per_second } = figure;
        let images = images_per_second.map_or(String::new(), |images| format!("{images:.1}"));
        self.print(&format!(
            "{question:<14} {shape:<27} {variant:<13} {:>9.3} {:>6.1} {:>7} {gflops:>9.1} {gbytes:>7.2} {percent_of_roof:>6.1} {images:>8}",
            1e3 * seconds.median,
            seconds.percent(),
            seconds.samples
        ));
    }

    fn failure(&mut self, Failure { question, shape, reason }: &Failure) {
        self.print(&format!("{question:<14} {shape:<27} FAILED: {}", one_line(reason)));
    }
}

pub(super) fn bench(args: BenchArgs) -> Result<ExitCode> {
    let device = block_on(Device::open(&Selector::from_flag_or_env(args.device.as_deref())))?;
    let tuned = if device.caps().tuned.is_empty() { "" } else { ", tuned" };
    say(&format!("device: {}{tuned}", device.name()), true)?;
    // What cannot be written is told before the work.
    check_replaceable(&args.out)?;
    let adapter = block_on(adapters()).into_iter().find(|adapter| adapter.label() == device.name());
    let mut printer = Printer(Ok(()));
    let record = block_on(measure(&device, adapter, Duration::from_secs_f64(args.seconds), &mut printer))?;
    printer.0?;
    for Comparison { question, shape, variants: [first, second], ratio } in &record.comparisons {
        let [low, high] = ratio.quartiles;
        let ratio = format!("{:.2} times as fast as {second} ({low:.2} to {high:.2})", ratio.median);
        say(&format!("{question} {shape}: {first} is {ratio}"), true)?;
    }
    replace(&args.out, record.json()?.as_bytes())?;
    line(&format!("written to {}: this file says all of it to others", args.out.display()))?;
    Ok(if record.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
