//! `minoise profile`

mod events;
mod gather;
mod measure;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pollster::block_on;

use super::compare::command;
use super::run::open;
use super::settings::SettingsArgs;
use super::{line, one_line};
use crate::config::{self, Config, Method};
use crate::data;
use crate::device::{Device, Options, Selector};
use crate::protocol::{Excerpt, Tasks};
use crate::report;
use crate::report::profile::{Beside, Compilation, FILE, Profile, Roof, Row, svg};
use crate::roofline::Roofline;
use crate::store::{check_replaceable, replace};
use crate::tune::examples;
use crate::{Error, Result};
use gather::Steps;

#[derive(Debug, clap::Args)]
pub(super) struct ProfileArgs {
    /// run, train-step, inference, analytic (a task beside its training steps), or a kernel, whose problems are run.
    #[arg(value_name = "WHAT", default_value = "train-step")]
    what: String,
    #[command(flatten)]
    settings: SettingsArgs,
    #[arg(long)]
    method: Option<Method>,
    #[arg(long)]
    profile: Option<config::Profile>,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How often it is measured, each time once with profiling and once without; 10 unless given.
    #[arg(long, value_name = "N", value_parser = steps)]
    steps: Option<usize>,
    /// Directory for profile.json, trace.json (for Perfetto or chrome://tracing), roofline.svg and roofline.png.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Bracket one step more for the graphics debugger that runs this program, RenderDoc or Xcode.
    #[arg(long)]
    capture: bool,
    /// Set two profiles side by side, files or directories; exit code 1 if the step, a kernel or a phase is slower in B.
    #[arg(long, value_names = ["A", "B"], num_args = 2, conflicts_with_all = ["what", "config", "data", "weights", "arch", "method", "profile", "device", "seed", "steps", "out", "json", "capture", "set"])]
    compare: Option<Vec<PathBuf>>,
    /// What B may be slower, in percent, beyond the spread from step to step.
    #[arg(long, value_name = "PERCENT", default_value = "10", requires = "compare", value_parser = percent)]
    tolerance: f64,
}

/// Steps that are measured unless `--steps` is given, which a whole run cannot have.
const STEPS: usize = 10;

/// Reads how often something is measured.
pub(super) fn steps(text: &str) -> Result<usize, String> {
    let steps = text.parse().ok().filter(|steps| (1..=1000).contains(steps));
    steps.ok_or_else(|| "a number from 1 to 1000 is needed".into())
}

/// Reads a tolerance.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.0..=1000.0).contains(percent));
    percent.ok_or_else(|| "percent from 0 to 1000 are needed".into())
}

/// What is profiled.
enum What {
    Run,
    Excerpt(Excerpt),
    Kernel,
}

pub(super) fn profile(args: ProfileArgs) -> Result<ExitCode> {
    if let Some([a, b]) = args.compare.as_deref().and_then(|files| files.first_chunk::<2>()) {
        return compare(a, b, args.tolerance / 100.0);
    }
    let what = match args.what.as_str() {
        "run" => What::Run,
        "train-step" => What::Excerpt(Excerpt::TrainStep),
        "inference" => What::Excerpt(Excerpt::Inference),
        "analytic" => What::Excerpt(Excerpt::Analytic),
        _ => What::Kernel,
    };
    if let Some(dir) = &args.out {
        FILES.iter().try_for_each(|file| check_replaceable(&dir.join(file)))?;
    }
    let (device, of, steps) = match what {
        What::Kernel => kernel(&args)?,
        What::Run => run(&args)?,
        What::Excerpt(excerpt) => part_of_run(&args, excerpt)?,
    };
    let Roofline { gflops, gbytes, .. } = block_on(Roofline::measure(&device))?;
    let compilation = Compilation { seconds: steps.compile_seconds, pipelines: steps.pipelines };
    let profile = Profile {
        version: env!("CARGO_PKG_VERSION").into(),
        command: command(),
        what: args.what.clone(),
        of,
        device: device.name().into(),
        roof: Roof { gflops, gbytes },
        compilation,
        ..steps.profile()
    };
    // Before anything is printed, which a closed pipe would end.
    if let Some(dir) = &args.out {
        write(dir, &profile, &steps)?;
    }
    line(&if args.json { profile.json()? } else { profile.table() })?;
    Ok(ExitCode::SUCCESS)
}

const FILES: [&str; 4] = [FILE, "trace.json", "roofline.svg", "roofline.png"];

fn write(dir: &Path, profile: &Profile, steps: &Steps) -> Result<()> {
    // Problems of one kernel are told apart by their names, which are phases.
    let rows: &[Row] = if steps.named() { &profile.phases } else { &profile.kernels };
    let svg = svg(profile, rows)?;
    let png = report::png(&svg)?;
    profile.write(dir, &steps.events())?;
    replace(&dir.join("roofline.svg"), svg.as_bytes())?;
    replace(&dir.join("roofline.png"), &png)
}

fn compare(a: &Path, b: &Path, tolerance: f64) -> Result<ExitCode> {
    let beside = Beside::of(&Profile::read(a)?, &Profile::read(b)?, tolerance)?;
    beside.table().lines().try_for_each(|row| line(&one_line(row)))?;
    Ok(if beside.slower().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The settings of the run that is looked at.
fn config(args: &ProfileArgs) -> Result<Config> {
    let mut config =
        Config::load_method(args.method, args.profile, args.settings.config.as_deref(), &args.settings.sets()?)?;
    config.seed = args.seed.unwrap_or(config.seed);
    config.validate()?;
    Ok(config)
}

fn run(args: &ProfileArgs) -> Result<(Device, String, Steps)> {
    if args.steps.is_some() || args.capture {
        return Err(Error::Config("profile run: a whole run has neither --steps nor --capture".into()));
    }
    let config = config(args)?;
    let dataset = data::load(&config.data, &config.images)?;
    let device = open(args.device.as_deref(), &config)?;
    let steps = measure::run(&config, &device, &dataset)?;
    let tasks = Tasks::of(&config, &dataset.classes)?.count();
    Ok((device, format!("{tasks} tasks of {}", dataset.name), steps))
}

fn part_of_run(args: &ProfileArgs, excerpt: Excerpt) -> Result<(Device, String, Steps)> {
    let config = config(args)?;
    let dataset = data::load(&config.data, &config.images)?;
    let device = open(args.device.as_deref(), &config)?;
    let (steps, images) =
        measure::excerpt((&config, &device, &dataset), excerpt, args.steps.unwrap_or(STEPS), args.capture)?;
    let tasks = Tasks::of(&config, &dataset.classes)?.count();
    Ok((device, format!("{images} images of {}, task {tasks} of {tasks}", dataset.name), steps))
}

fn kernel(args: &ProfileArgs) -> Result<(Device, String, Steps)> {
    let set = args.method.is_some() || args.profile.is_some() || args.seed.is_some();
    if set || args.settings.given() {
        return Err(Error::Config(format!(
            "profile {}: the problems of a kernel have no settings; run, train-step, inference and analytic have",
            args.what
        )));
    }
    let examples = examples(&args.what)?;
    let device = block_on(Device::open_with(&Selector::from_flag_or_env(args.device.as_deref()), &Options::default()))?;
    let of = format!("{} problems", examples.len());
    let steps = measure::kernel(&device, examples, args.steps.unwrap_or(STEPS), args.capture)?;
    Ok((device, of, steps))
}
