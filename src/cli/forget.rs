//! `minoise forget`

use std::process::ExitCode;

use pollster::block_on;

use super::{ForgetArgs, line};
use crate::protocol::Archive;
use crate::{Result, store};

pub(super) fn forget(args: ForgetArgs) -> Result<ExitCode> {
    store::check_replaceable(&args.out)?;
    let mut archive = block_on(Archive::load(&args.file))?;
    archive.forget(&args.class)?;
    block_on(archive.save(&args.out))?;
    line(&format!("{}: {archive}", args.out.display()))?;
    Ok(ExitCode::SUCCESS)
}
