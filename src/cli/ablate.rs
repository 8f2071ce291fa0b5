//! `minoise ablate`

use std::process::ExitCode;

use super::AblateArgs;
use super::compare::compared;
use crate::config::Config;
use crate::{Result, protocol};

pub(super) fn ablate(args: AblateArgs) -> Result<ExitCode> {
    let profile = args.profile.unwrap_or(Config::default().profile);
    compared(protocol::ablation(profile)?, &args.shared, false)
}
