//! `minoise verify`

use std::path::PathBuf;
use std::process::ExitCode;

use pollster::block_on;

use super::line;
use crate::device::{Device, Selector};
use crate::protocol::{self, Outcome, Replay};
use crate::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn verify(args: VerifyArgs) -> Result<ExitCode> {
    let device = block_on(Device::open(&Selector::from_flag_or_env(args.device.as_deref())))?;
    if !args.json {
        line(&format!("device: {}", device.name()))?;
    }
    let mut replays = Vec::new();
    for file in &args.files {
        let replay = block_on(protocol::verify(file, &device, false))?;
        if !args.json {
            print(&replay)?;
        }
        replays.push(replay);
    }
    if args.json {
        let text = serde_json::to_string_pretty(&replays).map_err(|e| Error::Unsupported(e.to_string()))?;
        line(&text)?;
    }
    Ok(if replays.iter().all(Replay::passed) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print(replay: &Replay) -> Result<()> {
    match &replay.outcome {
        Outcome::NotRun(why) => line(&format!("{}: not run ({why})", replay.file)),
        Outcome::Checked(checks) => {
            line(&format!("{}: replayed in {:.1} s", replay.file, replay.seconds))?;
            for c in checks {
                let verdict = if c.passed { "ok" } else { "EXCEEDED" };
                line(&format!(
                    "  {:<24} {:>4} tensors  error {:>8.1e}  tolerance {:>7.0e}  {verdict:<8}  worst {}",
                    c.group, c.tensors, c.error, c.tolerance, c.worst
                ))?;
            }
            Ok(())
        }
    }
}
