//! `minoise ablate`

use std::process::ExitCode;

use super::compare::{ComparedArgs, compared};
use crate::config::{Config, Profile};
use crate::{Result, protocol};

#[derive(Debug, clap::Args)]
pub(super) struct AblateArgs {
    /// What is taken apart: paper or robust; the default profile unless given.
    #[arg(long)]
    profile: Option<Profile>,
    #[command(flatten)]
    shared: ComparedArgs,
}

pub(super) fn ablate(args: AblateArgs) -> Result<ExitCode> {
    let profile = args.profile.unwrap_or(Config::default().profile);
    compared(protocol::ablation(profile)?, &args.shared, false)
}
