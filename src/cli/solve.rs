//! `minoise solve`

use std::process::ExitCode;

use pollster::block_on;

use super::progress::Progress;
use super::{SolveArgs, line};
use crate::config::Gamma;
use crate::device::{Device, Selector};
use crate::protocol::{self, Archive};
use crate::report;
use crate::{Result, data};

pub(super) fn solve(args: SolveArgs) -> Result<ExitCode> {
    if let Some(out) = &args.out {
        report::check_replaceable(out)?;
    }
    let mut archive = Archive::load(&args.file)?;
    if let Some(gamma) = args.gamma {
        archive.config.gamma = gamma;
        archive.config.validate()?;
    }
    let device = block_on(Device::open(&Selector::from_flag_or_env(args.device.as_deref())))?;
    line(&format!("device:   {}", device.name()))?;
    line(&format!("file:     {archive}"))?;
    let (gamma, how) = match archive.config.gamma {
        Gamma::Value(gamma) => (gamma, ""),
        Gamma::Auto => (block_on(archive.statistics.choose_gamma())?, " (by generalised cross-validation)"),
    };
    let bar = Progress::new().bar("solve", archive.statistics.features() as u64);
    let solution = block_on(archive.statistics.solve(&device, gamma, &mut |n| bar.inc(n as u64)))?;
    drop(bar);
    line(&format!("gamma:    {gamma}{how}"))?;
    line(&format!("residual: {:.1e}", solution.residual))?;
    if args.evaluate {
        let dataset = data::load(&archive.config.data, &archive.config.images)?;
        let judged = block_on(protocol::judge(&archive, &solution.weights, &device, &dataset))?;
        let (percent, images) = (100.0 * judged.accuracy(), judged.truth.len());
        line(&format!("accuracy: {percent:.2} % of {images} test images"))?;
    }
    if let Some(out) = &args.out {
        block_on(protocol::save_classifier(&archive, &solution, &device, out))?;
        line(&format!("classifier: {}", out.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
