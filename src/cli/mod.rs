//! The command line: one file per subcommand.

mod data;
mod forget;
mod gather;
mod info;
mod inspect;
mod merge;
mod progress;
mod run;
mod solve;
mod tune;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::Result;
use crate::config::{Gamma, Profile};

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
    Run(RunArgs),
    /// Gather the statistics of some tasks on the frozen backbone, to be merged and solved later.
    Gather(GatherArgs),
    /// Join statistics into those of the union of their samples and classes.
    Merge(MergeArgs),
    /// Take a class out of statistics, as if it had never been seen.
    Forget(ForgetArgs),
    /// Solve statistics for the classifier, with any gamma and without data.
    Solve(SolveArgs),
    /// Replay golden files and compare with what they record; exit code 1 if a tolerance is exceeded.
    Verify(VerifyArgs),
    /// Describe a file of weights: architecture, tensors, normalisation, memory and operations an image.
    Inspect(InspectArgs),
    /// Look through a data set.
    Data(DataArgs),
    /// List every adapter of every backend, and which one `auto` takes.
    Info(InfoArgs),
    /// Measure and verify every variant of the kernels on an adapter, and save which is fastest there.
    Tune(TuneArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// TOML file of settings.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    #[arg(long)]
    profile: Option<Profile>,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Directory for results.json.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One setting; repeat for more.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct GatherArgs {
    /// First and last task, such as 0-4, or one.
    #[arg(long, value_name = "A-B", value_parser = gather::tasks)]
    tasks: std::ops::Range<usize>,
    /// The file of statistics.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// TOML file of settings.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// One setting; repeat for more.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct MergeArgs {
    /// Files of statistics; classes keep the order in which they first appear.
    #[arg(required = true, num_args = 1.., value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The file of the union.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
struct ForgetArgs {
    /// File of statistics, gathered with keep_class_statistics=true.
    file: PathBuf,
    /// Name of the class.
    #[arg(long, value_name = "NAME")]
    class: String,
    /// The file without the class.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
struct SolveArgs {
    /// File of statistics.
    file: PathBuf,
    /// Ridge added to the Gram matrix, a number or auto; that of the settings unless given.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    gamma: Option<Gamma>,
    /// The file of the classifier.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Judge it by the test images of the classes it knows.
    #[arg(long)]
    evaluate: bool,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct InspectArgs {
    /// A safetensors file, an index of shards, a folder with either, or icons.
    file: String,
    /// timm's name of the architecture, where the file does not tell.
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Pixels along an image, unless it is the size that the weights were made for.
    #[arg(long, value_name = "N")]
    image_size: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    /// Read every image; tell classes, counts, sizes, duplicates and what cannot be read; exit code 1 if anything cannot.
    Check {
        /// Data as for the setting `data`.
        path: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct InfoArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Measure what a device reaches at best: arithmetic in registers, and a copy in memory.
    #[arg(long)]
    roofline: bool,
    /// The device to measure: auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE", requires = "roofline")]
    device: Option<String>,
}

#[derive(Debug, clap::Args)]
struct TuneArgs {
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Print the measurements and save nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Parses the arguments, runs, and gives the exit code: 0, 1 (verify failed) or 2 (an error, told in one line).
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Gather(args) => gather::gather(args),
        Command::Merge(args) => merge::merge(args),
        Command::Forget(args) => forget::forget(args),
        Command::Solve(args) => solve::solve(args),
        Command::Verify(args) => verify::verify(args),
        Command::Inspect(args) => inspect::inspect(args),
        Command::Data(args) => data::data(args),
        Command::Info(args) => info::info(args),
        Command::Tune(args) => tune::run(args),
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
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => Err(crate::Error::io("writing", "standard output", &e)),
        Ok(()) => Ok(()),
    }
}
