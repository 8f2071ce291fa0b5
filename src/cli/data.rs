//! `minoise data`

use std::process::ExitCode;

use super::line;
use super::progress::Progress;
use crate::data::{self, Report};
use crate::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum DataCommand {
    /// Read every image; tell classes, counts, sizes, duplicates and what cannot be read; exit code 1 if anything cannot.
    Check {
        /// Data as for the setting `data`.
        path: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Names that are listed at most; `--json` has all.
const LISTED: usize = 10;

pub(super) fn data(args: DataArgs) -> Result<ExitCode> {
    let DataCommand::Check { path, json } = args.command;
    let bar = Progress::new().count("images");
    let report = data::check(&path, &|| bar.inc(1))?;
    drop(bar);
    if json {
        line(&serde_json::to_string_pretty(&report).map_err(|e| Error::Unsupported(e.to_string()))?)?;
    } else {
        print(&report)?;
    }
    Ok(ExitCode::from(u8::from(!report.unreadable.is_empty())))
}

fn print(report: &Report) -> Result<()> {
    let Report { name, classes, train, test, sizes, grey, unreadable, duplicates } = report;
    let width = classes.iter().map(|class| class.name.chars().count()).max().unwrap_or(0).clamp(5, 40);
    line(&format!("{:<width$}  training  test", "class"))?;
    for class in classes {
        line(&format!("{:<width$}  {:>8}  {:>4}", class.name, class.train, class.test))?;
    }
    let test = test.map_or("no test images of its own, see test_share".into(), |n| format!("{n} test images"));
    line(&format!("data        {name}, {} classes, {train} training images, {test}", classes.len()))?;
    let shown: Vec<_> = sizes.iter().take(3).map(|s| format!("{} x {} ({})", s.width, s.height, s.images)).collect();
    let more = if sizes.len() > 3 { format!(" and {} more", sizes.len() - 3) } else { String::new() };
    line(&format!("width x height  {}{more}; {grey} grey", shown.join(", ")))?;
    let d = duplicates;
    line(&format!(
        "duplicates  {} test images are training images as well, {} repeat within training, {} within test; {} in another class",
        d.across.len(),
        d.train,
        d.test,
        d.other_class
    ))?;
    listed(d.across.iter().map(|(test, train)| format!("{test} is {train}")))?;
    line(&format!("unreadable  {}", unreadable.len()))?;
    listed(unreadable.iter().map(|bad| bad.reason.clone()))
}

fn listed(lines: impl ExactSizeIterator<Item = String>) -> Result<()> {
    let rest = lines.len().saturating_sub(LISTED);
    for text in lines.take(LISTED) {
        line(&format!("  {}", super::one_line(&text)))?;
    }
    if rest > 0 { line(&format!("  and {rest} more, see --json")) } else { Ok(()) }
}
