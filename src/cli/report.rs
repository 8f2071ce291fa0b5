//! `minoise report`

use std::path::PathBuf;
use std::process::ExitCode;

use super::line;
use crate::Result;
use crate::report::Page;

#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// Directories of runs (run --out); those that differ by their seeds alone are shown by mean and deviation.
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Directory for the page and the pictures; that of the first run unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn report(args: ReportArgs) -> Result<ExitCode> {
    let out = args.out.unwrap_or_else(|| args.dirs[0].clone());
    Page::check_writable(&out)?;
    let path = Page::of(&args.dirs)?.write(&out)?;
    line(&format!("report      {}", path.display()))?;
    Ok(ExitCode::SUCCESS)
}
