//! `minoise kernels`

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pollster::block_on;

use super::line;
use crate::catalogue::{Entry, Planned, catalogue};
use crate::device::{Caps, Device, Selector, adapters, kernels as kernel_names};
use crate::driver::{Driver, Report};
use crate::emit::{Language, Shader};
use crate::store::replace;
use crate::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct KernelsArgs {
    #[command(subcommand)]
    command: KernelsCommand,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE", global = true)]
    device: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum KernelsCommand {
    /// Every kernel with the number of its plans on the device, its variants, and whether they were measured there.
    List,
    /// Write the shader of a plan, as the device gets it; without --plan that of the kernel's first problem.
    Show {
        /// Name of a kernel.
        name: String,
        /// Number of the plan, as they are listed without it.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        plan: Option<u32>,
        #[arg(long = "as", value_name = "LANGUAGE", default_value = "wgsl")]
        language: Language,
        /// A file in place of standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Registers, spills and occupancy of every plan, where the driver tells.
    Stats {
        /// Names of kernels.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

pub(super) fn kernels(args: KernelsArgs) -> Result<ExitCode> {
    let device = block_on(Device::open(&Selector::from_flag_or_env(args.device.as_deref())))?;
    let caps = if device.is_cpu() { Caps::floor() } else { device.caps().clone() };
    let on = On { device, caps };
    match args.command {
        KernelsCommand::List => on.list()?,
        KernelsCommand::Show { name, plan, language, out } => on.show(&name, plan, language, out.as_deref())?,
        KernelsCommand::Stats { names } => on.stats(&names)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A device, and what plans are made for.
struct On {
    device: Device,
    caps: Caps,
}

/// Refuses what is no kernel's name, with the nearest one.
fn check(name: &str) -> Result<()> {
    if kernel_names().any(|known| known == name) {
        return Ok(());
    }
    let near = kernel_names().min_by_key(|known| strsim::damerau_levenshtein(known, name)).unwrap_or_default();
    Err(Error::Unsupported(format!(
        "no kernel is called `{name}`; did you mean `{near}`? `minoise kernels list` tells all"
    )))
}

impl On {
    /// The device, and whose plans these are.
    fn told(&self) -> String {
        let stand_in =
            if self.device.is_cpu() { "; it runs twins, and plans are those of the smallest GPU" } else { "" };
        format!("device: {}{stand_in}", self.device.name())
    }

    fn list(&self) -> Result<()> {
        line(&self.told())?;
        line(&format!("{:<24} {:>5}  {:<12}  variants (* taken here)", "kernel", "plans", "tuned"))?;
        for Entry { kernel, plans, variants, measured } in &catalogue(&self.caps)? {
            let tuned = match (variants.is_empty(), measured) {
                (true, _) => "-".into(),
                (false, 0) => "no".into(),
                (false, n) => format!("{n} problems"),
            };
            let names: Vec<_> =
                variants.iter().map(|(name, taken)| format!("{name}{}", if *taken { "*" } else { "" })).collect();
            let row = format!("{kernel:<24} {:>5}  {tuned:<12}  {}", plans.len(), names.join(", "));
            line(row.trim_end())?;
        }
        Ok(())
    }

    /// The shader goes to standard output, and all that is told about it to standard error.
    fn show(&self, name: &str, number: Option<u32>, language: Language, out: Option<&Path>) -> Result<()> {
        check(name)?;
        let entry = catalogue(&self.caps)?.into_iter().find(|entry| entry.kernel == name);
        let plans = entry.map_or(Vec::new(), |entry| entry.plans);
        let taken = number.unwrap_or(1) as usize;
        let planned = plans.get(taken - 1).ok_or_else(|| {
            Error::Unsupported(format!("--plan: `{name}` has plans 1 to {} on this device, no {taken}", plans.len()))
        })?;
        eprintln!("{}", self.told());
        if number.is_none() && plans.len() > 1 {
            for (i, planned) in plans.iter().enumerate() {
                eprintln!("plan {}: {}", i + 1, described(planned));
            }
        }
        eprintln!("written: plan {taken} of {}, {}", plans.len(), described(planned));
        let bytes = Shader::of(&planned.plan)?.written(language)?;
        match out {
            Some(path) => replace(path, &bytes),
            None if language == Language::SpirV && std::io::stdout().is_terminal() => Err(Error::Unsupported(
                "SPIR-V is binary and no text for a terminal: add --out FILE, or let another program read it".into(),
            )),
            None => printed(&bytes),
        }
    }

    fn stats(&self, names: &[String]) -> Result<()> {
        names.iter().try_for_each(|name| check(name))?;
        line(&self.told())?;
        let driver = self.driver();
        let mut others = None;
        line("threads and bytes of shared memory are a workgroup's; the other units are the driver's own")?;
        let all = catalogue(&self.caps)?;
        for Entry { kernel, plans, .. } in all.iter().filter(|entry| names.iter().any(|name| name == entry.kernel)) {
            line(kernel)?;
            line(&format!(
                "{:>4} {:>8} {:>9} {:>6} {:>7} {:>9} {:>7} {:>6}  plan",
                "plan", "subgroup", "registers", "spills", "scratch", "occupancy", "threads", "shared"
            ))?;
            for (i, planned) in plans.iter().enumerate() {
                let report = match &driver {
                    Ok(driver) => driver.compile(&Shader::of(&planned.plan)?)?,
                    Err(_) => Report::default(),
                };
                line(&figures(i + 1, planned, &report))?;
                if [report.registers(), report.spills(), report.occupancy()].contains(&None) {
                    others.get_or_insert(report.statistics);
                }
            }
        }
        match (driver, others) {
            (Err(why), _) => line(&why.to_string()),
            (Ok(_), Some(others)) => {
                let names: Vec<_> = others.into_iter().map(|(name, value)| format!("{name} {value}")).collect();
                line(&format!("this driver does not tell all of it; what it tells of one plan: {}", names.join(", ")))
            }
            _ => Ok(()),
        }
    }

    fn driver(&self) -> Result<Driver> {
        let adapter = block_on(adapters()).into_iter().find(|adapter| adapter.label() == self.device.name());
        let adapter = adapter.ok_or_else(|| {
            Error::Unsupported("no statistics of pipelines: the CPU device has no driver to ask".into())
        })?;
        Driver::open(&adapter, &self.caps)
    }
}

/// A row of the table of statistics.
fn figures(number: usize, planned: &Planned, report: &Report) -> String {
    let figure = |figure: Option<u64>| figure.map_or("-".into(), |x| x.to_string());
    format!(
        "{number:>4} {:>8} {:>9} {:>6} {:>7} {:>9} {:>7} {:>6}  {}",
        figure(Some(report.subgroup.into()).filter(|&threads| threads > 0)),
        figure(report.registers()),
        figure(report.spills()),
        figure(report.scratch()),
        figure(report.occupancy()),
        planned.plan.workgroup,
        planned.plan.shared_bytes,
        described(planned),
    )
}

/// Shader, constants, variant, and who asks for it.
fn described(Planned { plan, variant, used_by }: &Planned) -> String {
    let variant = variant.as_ref().map_or(String::new(), |variant| format!(", variant {variant}"));
    let constants = plan.describe();
    let space = if constants.is_empty() { "" } else { " " };
    format!("{}{space}{constants}{variant} (for {})", plan.shader, used_by.join(", "))
}

/// Writes to standard output; a closed pipe is a reader who has enough.
fn printed(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("writing", "standard output", &e)),
        _ => Ok(()),
    }
}
