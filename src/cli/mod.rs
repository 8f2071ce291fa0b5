//! The command line: one file per subcommand.

mod ablate;
mod add;
mod bench;
mod compare;
mod data;
mod drive;
mod eval;
mod explain;
mod forget;
mod gather;
mod info;
mod inspect;
mod kernels;
mod merge;
mod predict;
mod profile;
mod progress;
mod report;
mod run;
mod settings;
mod show;
mod solve;
mod tune;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::Result;

/// Class-incremental learning with a mixture of noise, on any GPU or none.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Learn all tasks and print the accuracy after each.
    Run(run::RunArgs),
    /// Compare methods on the same data, backbone and seeds; exit code 1 if one has no result, such as where it diverged.
    Compare(compare::CompareArgs),
    /// Compare a profile with what is left of it without its parts; exit code 1 as for compare.
    Ablate(ablate::AblateArgs),
    /// Teach a model the classes of further data.
    Add(add::AddArgs),
    /// Draw a page of runs, with all their figures: report.html, report.svg and report.png.
    Report(report::ReportArgs),
    /// Tell which classes images are of.
    Predict(predict::PredictArgs),
    /// Judge a model by the test images of any data.
    Eval(eval::EvalArgs),
    /// Show where in images a class is seen, what the noise of each task changes, and what of the past is near.
    Explain(explain::ExplainArgs),
    /// Gather the statistics of some tasks on the frozen backbone, to be merged and solved later.
    Gather(gather::GatherArgs),
    /// Join statistics into those of the union of their samples and classes.
    Merge(merge::MergeArgs),
    /// Take a class out of statistics, as if it had never been seen.
    Forget(forget::ForgetArgs),
    /// Solve statistics for the classifier, with any gamma and without data.
    Solve(solve::SolveArgs),
    /// Replay golden files and compare with what they record; exit code 1 if a tolerance is exceeded.
    Verify(verify::VerifyArgs),
    /// Describe a file of weights: architecture, tensors, normalisation, memory and operations an image.
    Inspect(inspect::InspectArgs),
    /// Look through a data set.
    Data(data::DataArgs),
    /// List every adapter of every backend, and which one `auto` takes.
    Info(info::InfoArgs),
    /// Measure and verify every variant of the kernels on an adapter, and save which is fastest there.
    Tune(tune::TuneArgs),
    /// Measure what a device makes of products, attention, noise, training, inference and the analytic head; write a file to
    /// send.
    Bench(bench::BenchArgs),
    /// List the kernels, write one in a driver's language, or ask the driver what it makes of it.
    Kernels(kernels::KernelsArgs),
    /// Tell what every kernel, phase and part of the network takes, in a run, a step of it, or a kernel's problems.
    Profile(profile::ProfileArgs),
}

/// Settings of the data, which a model that is there can be given anew.
const DATA_SETTINGS: &[&str] =
    &["test_share", "holdout", "train_per_class", "test_per_class", "split_seed", "skip_bad", "image_cache_mib"];

/// Reads minutes from 0 to a month.
fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().ok().filter(|minutes| (0.0..=50_000.0).contains(minutes));
    minutes.ok_or_else(|| "minutes from 0 to 50000 are needed".into())
}

/// Parses the arguments, runs, and gives the exit code: 0, 1 (something did not pass: a check of verify or bench, a method without
/// a result, data that cannot be read, what is profiled slower) or 2 (an error, told in one line).
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Compare(args) => compare::compare(args),
        Command::Ablate(args) => ablate::ablate(args),
        Command::Add(args) => add::add(args),
        Command::Report(args) => report::report(args),
        Command::Predict(args) => predict::predict(args),
        Command::Eval(args) => eval::eval(args),
        Command::Explain(args) => explain::explain(args),
        Command::Gather(args) => gather::gather(args),
        Command::Merge(args) => merge::merge(args),
        Command::Forget(args) => forget::forget(args),
        Command::Solve(args) => solve::solve(args),
        Command::Verify(args) => verify::verify(args),
        Command::Inspect(args) => inspect::inspect(args),
        Command::Data(args) => data::data(args),
        Command::Info(args) => info::info(args),
        Command::Tune(args) => tune::run(args),
        Command::Bench(args) => bench::bench(args),
        Command::Kernels(args) => kernels::kernels(args),
        Command::Profile(args) => profile::profile(args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {}", one_line(&error.to_string()));
        ExitCode::from(2)
    })
}

/// What files and arguments bring into a message must not break its line or reach the terminal as a command.
fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Prints a line to standard output; a closed pipe ends the program quietly.
fn line(text: &str) -> Result<()> {
    if !written(text)? {
        std::process::exit(0);
    }
    Ok(())
}

/// The same, but while files are `pending` a closed pipe ends nothing.
fn say(text: &str, pending: bool) -> Result<()> {
    if pending { written(text).map(drop) } else { line(text) }
}

/// Prints a line to standard output; false where nobody reads it.
fn written(text: &str) -> Result<bool> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(crate::Error::io("writing", "standard output", &e)),
        Ok(()) => Ok(true),
    }
}
