//! `minoise merge`

use std::process::ExitCode;

use pollster::block_on;

use super::{MergeArgs, line};
use crate::protocol::Archive;
use crate::{Error, Result, store};

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
