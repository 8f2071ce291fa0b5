//! `minoise tune`

use std::process::ExitCode;

use pollster::block_on;

use super::line;
use crate::Result;
use crate::device::{Device, Options, Selector};
use crate::roofline::Roofline;
use crate::tune::{Listener, Tried, tune};

#[derive(Debug, clap::Args)]
pub(super) struct TuneArgs {
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Print the measurements and save nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Prints what was measured, and counts where something is gained.
struct Printer {
    printed: Result<()>,
    gains: usize,
}

impl Printer {
    fn print(&mut self, text: &str) {
        let printed = line(text);
        self.printed = std::mem::replace(&mut self.printed, Ok(())).and(printed);
    }
}

impl Listener for Printer {
    fn roofline(&mut self, roofline: &Roofline) {
        self.print(&roofline.to_string());
    }

    /// A problem and its variants; `*` marks the chosen one.
    fn tried(&mut self, Tried { choice, variants }: &Tried) {
        self.print(&format!("{} {} {:?}", choice.kernel, choice.class, choice.size));
        for v in variants {
            let mark = if v.variant == choice.variant { '*' } else { ' ' };
            let default = if v.default { ", taken without a table" } else { "" };
            let refused = match (v.error <= v.bound, v.rounds) {
                (false, _) => format!(", refused: above {:.1e}", v.bound),
                (true, true) => ", not taken: rounds operands to halves".into(),
                (true, false) => String::new(),
            };
            self.print(&format!(
                "{mark} {:<14} {:>9.1} GFLOP/s {:>6.1} % of the roof, error {:.1e}{refused}{default}",
                v.variant, v.gflops, v.percent, v.error
            ));
            self.gains += usize::from(mark == '*' && !v.default);
        }
    }
}

pub(super) fn run(args: TuneArgs) -> Result<ExitCode> {
    let options = Options { saved: false, ..Options::default() };
    let device = block_on(Device::open_with(&Selector::from_flag_or_env(args.device.as_deref()), &options))?;
    line(&format!("device: {}", device.name()))?;
    let mut printer = Printer { printed: Ok(()), gains: 0 };
    let tuned = block_on(tune(&device, &mut printer))?;
    printer.printed?;
    line(&format!("{} problems run faster by another variant than the one taken without a table", printer.gains))?;
    if args.dry_run {
        line("nothing saved (--dry-run)")?;
    } else {
        line(&format!("saved in {}", tuned.save(device.name())?.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
