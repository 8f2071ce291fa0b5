//! `minoise solve`

use std::path::PathBuf;
use std::process::ExitCode;

use pollster::block_on;

use super::eval::told;
use super::progress::Progress;
use super::{DATA_SETTINGS, line};
use crate::config::Gamma;
use crate::device::{Device, Selector};
use crate::protocol::{self, Archive, Model};
use crate::{Error, Result, data, store};

#[derive(Debug, clap::Args)]
pub(super) struct SolveArgs {
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

pub(super) fn solve(args: SolveArgs) -> Result<ExitCode> {
    if let Some(out) = &args.out {
        store::check_replaceable(out)?;
    }
    let mut archive = block_on(Archive::load(&args.file))?;
    if let Some(gamma) = args.gamma {
        archive.config.gamma = gamma;
        archive.config.validate()?;
    }
    let device = block_on(Device::open(&Selector::from_flag_or_env(args.device.as_deref())))?;
    line(&format!("device:   {}", device.name()))?;
    line(&format!("file:     {archive}"))?;
    let (gamma, how) = match archive.config.gamma {
        Gamma::Value(gamma) => (gamma, ""),
        Gamma::Auto => (block_on(archive.statistics.choose_gamma(None))?, " (by generalised cross-validation)"),
    };
    let bar = Progress::new().bar("solve", archive.statistics.features() as u64);
    let solution = block_on(archive.statistics.solve(&device, gamma, &mut |n| bar.inc(n as u64)))?;
    drop(bar);
    line(&format!("gamma:    {gamma}{how}"))?;
    line(&format!("residual: {:.1e}", solution.residual))?;
    // The model is evaluated as `predict` will read it.
    let scratch = tempfile::NamedTempFile::new().map_err(|e| Error::io("create", std::env::temp_dir(), &e))?;
    let out = args.out.as_deref().unwrap_or(scratch.path());
    block_on(protocol::save_classifier(&archive, gamma, &solution, &device, out))?;
    if args.evaluate {
        let mut config = archive.config.changed(&args.set, DATA_SETTINGS)?;
        config.data = args.data.unwrap_or(config.data);
        let dataset = data::load(&config.data, &config.images)?;
        let model = block_on(Model::open(out, &device, None))?;
        told(&block_on(model.evaluate(&dataset))?, "test")?;
    }
    if let Some(out) = &args.out {
        line(&format!("model:    {}", out.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
