//! `minoise gather`

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use pollster::block_on;

use super::line;
use super::progress::Bars;
use super::run::open;
use super::settings::SettingsArgs;
use crate::config::Config;
use crate::{Result, data, protocol, store};

#[derive(Debug, clap::Args)]
pub(super) struct GatherArgs {
    /// First and last task, such as 0-4, or one.
    #[arg(long, value_name = "A-B", value_parser = tasks)]
    tasks: Range<usize>,
    /// The file of statistics.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    settings: SettingsArgs,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Reads `A-B`, both included, or `A`.
pub(super) fn tasks(text: &str) -> Result<Range<usize>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.trim().parse(), last.trim().parse::<usize>()) {
        (Ok(first), Ok(last)) if first <= last && last < usize::MAX => Ok(first..last + 1),
        _ => Err("first and last task are needed, such as 0-4".into()),
    }
}

pub(super) fn gather(args: GatherArgs) -> Result<ExitCode> {
    let sets = [vec!["noise=false".into()], args.settings.sets()?].concat();
    let mut config = Config::load(None, args.settings.config.as_deref(), &sets)?;
    config.seed = args.seed.unwrap_or(config.seed);
    store::check_replaceable(&args.out)?;
    let dataset = data::load(&config.data, &config.images)?;
    let device = open(args.device.as_deref(), &config)?;
    line(&format!("device: {}", device.name()))?;
    let archive = block_on(protocol::gather(&config, &device, &dataset, args.tasks, &mut Bars::of_passes()))?;
    block_on(archive.save(&args.out))?;
    line(&format!("{}: {archive}", args.out.display()))?;
    Ok(ExitCode::SUCCESS)
}
