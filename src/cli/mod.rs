//! The command line: one file per subcommand.

mod ablate;
mod add;
mod compare;
mod data;
mod drive;
mod eval;
mod forget;
mod gather;
mod info;
mod inspect;
mod merge;
mod predict;
mod progress;
mod run;
mod show;
mod solve;
mod tune;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::Result;
use crate::config::{Gamma, Method, Profile, Sizes};

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
    /// Compare methods on the same data, backbone and seeds.
    Compare(CompareArgs),
    /// Compare a profile with what is left of it without its parts.
    Ablate(AblateArgs),
    /// Teach a model the classes of further data.
    Add(AddArgs),
    /// Tell which classes images are of.
    Predict(PredictArgs),
    /// Judge a model by the test images of any data.
    Eval(EvalArgs),
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
    method: Option<Method>,
    #[arg(long)]
    profile: Option<Profile>,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Directory for results.json, the model, and what it takes to go on after an interruption.
    #[arg(long, value_name = "DIR", group = "kept")]
    out: Option<PathBuf>,
    /// Most MiB of device memory (setting `memory_mib`): batches are taken in parts to stay within.
    #[arg(long, value_name = "MIB")]
    memory: Option<usize>,
    /// Go on with the run in this directory.
    #[arg(long, value_name = "DIR", group = "kept", conflicts_with_all = ["config", "method", "profile", "seed", "memory", "out", "set"])]
    resume: Option<PathBuf>,
    /// Minutes between two saves within a step of a task, besides those after every step; 5 unless given.
    #[arg(long, value_name = "MINUTES", requires = "kept", value_parser = minutes)]
    save_every: Option<f64>,
    /// One setting; repeat for more.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    shown: ShownArgs,
}

/// How a run is told of as it goes.
#[derive(Clone, Copy, Debug, clap::Args)]
struct ShownArgs {
    /// Tell nothing of passes: the table alone.
    #[arg(long)]
    quiet: bool,
    /// For programs: a line of JSON for the beginning, every pass, every task and the end.
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
}

/// What comparisons have in common.
#[derive(Debug, clap::Args)]
struct ComparedArgs {
    /// Runs of every row: those of the seeds 0 to N-1.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Directory for all runs and comparison.json, .md and .csv; what is there of the same runs is gone on with.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// TOML file of settings; every row takes those that it understands.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Data as for the setting `data`.
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    /// The backbone, as for the setting `weights`.
    #[arg(long, value_name = "FILE")]
    weights: Option<String>,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// One setting, for the rows that understand it; repeat for more.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct CompareArgs {
    /// The methods, such as floor,paper,robust; differences are to `floor`, if it is among them.
    #[arg(long, value_name = "A,B,...", required = true, value_delimiter = ',')]
    methods: Vec<String>,
    /// Learning rates tried for each method that has one, on training images held out: 0, or 3 (a third, one and three times
    /// the one that there is).
    #[arg(long, value_name = "N", default_value = "0", value_parser = compare::trials)]
    trials: usize,
    #[command(flatten)]
    shared: ComparedArgs,
}

#[derive(Debug, clap::Args)]
struct AblateArgs {
    /// What is taken apart: paper or robust; the default profile unless given.
    #[arg(long)]
    profile: Option<Profile>,
    #[command(flatten)]
    shared: ComparedArgs,
}

/// Settings of the data, which a model that is there can be given anew.
const DATA_SETTINGS: &[&str] =
    &["test_share", "holdout", "train_per_class", "test_per_class", "split_seed", "skip_bad", "image_cache_mib"];

/// Reads minutes from 0 to a month.
fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().ok().filter(|minutes| (0.0..=50_000.0).contains(minutes));
    minutes.ok_or_else(|| "minutes from 0 to 50000 are needed".into())
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// The model: the directory of a run, or its file.
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
    /// Data as for the setting `data`, of classes that are new.
    #[arg(long, value_name = "PATH")]
    data: String,
    /// Directory for the model that knows all classes; that of --checkpoint unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Classes of each task, such as 30,20; all at once unless given.
    #[arg(long, value_name = "N,N,...")]
    tasks: Option<Sizes>,
    /// The backbone, if it is not where it was.
    #[arg(long, value_name = "FILE")]
    weights: Option<String>,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Minutes between two saves within a step of a task, besides those after every step.
    #[arg(long, value_name = "MINUTES", default_value = "5", value_parser = minutes)]
    save_every: f64,
    /// One setting of the data or the training; repeat for more.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    shown: ShownArgs,
}

#[derive(Debug, clap::Args)]
struct PredictArgs {
    /// The model: the directory of a run, its file, or that of solve --out.
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
    /// Image files; - for a list of them on standard input, one a line.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Classes to tell for each image.
    #[arg(long, value_name = "K", default_value_t = 5)]
    top: usize,
    /// Leave out images that cannot be read, and count them.
    #[arg(long)]
    skip_bad: bool,
    /// Print JSON, one line an image.
    #[arg(long)]
    json: bool,
    /// The backbone, if it is not where it was.
    #[arg(long, value_name = "FILE")]
    weights: Option<String>,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

#[derive(Debug, clap::Args)]
struct EvalArgs {
    /// The model: the directory of a run, its file, or that of solve --out.
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
    /// Data as for the setting `data`; those that it learned from unless given.
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    /// The backbone, if it is not where it was.
    #[arg(long, value_name = "FILE")]
    weights: Option<String>,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Print JSON, with the accuracy of every class.
    #[arg(long)]
    json: bool,
    /// One setting of the data; repeat for more.
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
    /// The file of the classifier, for predict and eval.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Judge it by the test images of the classes it knows.
    #[arg(long)]
    evaluate: bool,
    /// Data to judge it by, instead of those that the statistics are of.
    #[arg(long, value_name = "PATH", requires = "evaluate")]
    data: Option<String>,
    /// One setting of that data; repeat for more.
    #[arg(long, value_name = "KEY=VALUE", requires = "evaluate")]
    set: Vec<String>,
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
    /// A safetensors file, an index of shards, a folder with either, hf:OWNER/NAME, or icons.
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
        Command::Compare(args) => compare::compare(args),
        Command::Ablate(args) => ablate::ablate(args),
        Command::Add(args) => add::add(args),
        Command::Predict(args) => predict::predict(args),
        Command::Eval(args) => eval::eval(args),
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
    if !written(text)? {
        std::process::exit(0);
    }
    Ok(())
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
