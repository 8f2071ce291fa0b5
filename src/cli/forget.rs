//! `minoise forget`

use std::path::PathBuf;
use std::process::ExitCode;

use pollster::block_on;

use super::line;
use crate::protocol::Archive;
use crate::{Result, store};

#[derive(Debug, clap::Args)]
pub(super) struct ForgetArgs {
    /// File of statistics, gathered with keep_class_statistics=true.
    file: PathBuf,
    /// Name of the class.
    #[arg(long, value_name = "NAME")]
    class: String,
    /// The file without the class.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn forget(args: ForgetArgs) -> Result<ExitCode> {
    store::check_replaceable(&args.out)?;
    let mut archive = block_on(Archive::load(&args.file))?;
    archive.forget(&args.class)?;
    block_on(archive.save(&args.out))?;
    line(&format!("{}: {archive}", args.out.display()))?;
    Ok(ExitCode::SUCCESS)
}
