//! `minoise run`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use pollster::block_on;

use super::drive::{Keep, drive};
use super::minutes;
use super::settings::SettingsArgs;
use super::show::ShownArgs;
use crate::config::{Config, Method, Profile};
use crate::data::{self, Dataset};
use crate::device::{Device, Options, Selector};
use crate::protocol::{self, Session};
use crate::{Error, Result, report};

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    settings: SettingsArgs,
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
    #[arg(long, value_name = "DIR", group = "kept", conflicts_with_all = ["config", "data", "weights", "arch", "method", "profile", "seed", "memory", "out", "set"])]
    resume: Option<PathBuf>,
    /// Minutes between two saves within a step of a task, besides those after every step; 5 unless given.
    #[arg(long, value_name = "MINUTES", requires = "kept", value_parser = minutes)]
    save_every: Option<f64>,
    #[command(flatten)]
    shown: ShownArgs,
}

/// Minutes between two saves unless `--save-every` is given, which needs a directory and so can have no default.
const SAVE_EVERY: f64 = 5.0;

pub(super) fn run(args: RunArgs) -> Result<ExitCode> {
    let every = Duration::from_secs_f64(60.0 * args.save_every.unwrap_or(SAVE_EVERY));
    if let Some(dir) = &args.resume {
        let config = protocol::saved_settings(dir)?;
        let dataset = data::load(&config.data, &config.images)?;
        let device = open(args.device.as_deref(), &config)?;
        let session = block_on(Session::resume(dir, &device, &dataset))?;
        let (tasks, done) = session.tasks();
        let mut intro = introduced(&device, &dataset);
        intro.push(format!("resumed: {done} of {tasks} tasks are done"));
        return drive(session, &intro, Some(&Keep { dir, every }), args.shown);
    }
    let mut config =
        Config::load_method(args.method, args.profile, args.settings.config.as_deref(), &args.settings.sets()?)?;
    config.seed = args.seed.unwrap_or(config.seed);
    config.memory_mib = args.memory.unwrap_or(config.memory_mib);
    config.validate()?;
    if let Some(dir) = &args.out {
        free(dir)?;
    }
    let dataset = data::load(&config.data, &config.images)?;
    let device = open(args.device.as_deref(), &config)?;
    let session = Session::new(&config, &device, &dataset)?;
    let keep = args.out.as_deref().map(|dir| Keep { dir, every });
    drive(session, &introduced(&device, &dataset), keep.as_ref(), args.shown)
}

/// The device of a run, which holds no more than the settings allow.
pub(super) fn open(flag: Option<&str>, config: &Config) -> Result<Device> {
    let memory = (config.memory_mib > 0).then(|| config.memory_limit());
    block_on(Device::open_with(&Selector::from_flag_or_env(flag), &Options { memory, ..Options::default() }))
}

/// Refuses a directory that cannot be written, or holds a run that is not over.
pub(super) fn free(dir: &Path) -> Result<()> {
    report::check_writable(dir)?;
    if protocol::is_unfinished(dir)? {
        let dir = dir.display();
        let message = format!("--out {dir}: an unfinished run is there; go on with --resume {dir}, or choose another");
        return Err(Error::Config(message));
    }
    Ok(())
}

/// The lines above the table.
pub(super) fn introduced(device: &Device, data: &Dataset) -> Vec<String> {
    let tuned = if device.caps().tuned.is_empty() { "" } else { ", tuned" };
    vec![format!("device: {}{tuned}", device.name()), format!("data:   {}", described(data))]
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
