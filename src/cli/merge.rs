//! `minoise merge`

use std::path::PathBuf;
use std::process::ExitCode;

use pollster::block_on;

use super::line;
use crate::protocol::Archive;
use crate::{Error, Result, store};

#[derive(Debug, clap::Args)]
pub(super) struct MergeArgs {
    /// Files of statistics; classes keep the order in which they first appear.
    #[arg(required = true, num_args = 1.., value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The file of the union.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn merge(args: MergeArgs) -> Result<ExitCode> {
    store::check_replaceable(&args.out)?;
    let (first, rest) = args.files.split_first().ok_or_else(|| Error::Unsupported("no file to merge".into()))?;
    let mut union = block_on(Archive::load(first))?;
    line(&format!("{}: {union}", first.display()))?;
    for file in rest {
        let next = block_on(Archive::load(file))?;
        line(&format!("{}: {next}", file.display()))?;
        block_on(union.merge(&next))?;
    }
    block_on(union.save(&args.out))?;
    line(&format!("{}: {union}", args.out.display()))?;
    Ok(ExitCode::SUCCESS)
}
