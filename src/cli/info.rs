//! `minoise info`

use std::process::ExitCode;

use pollster::block_on;

use super::line;
use crate::device::{AdapterReport, Device, Selector, adapters};
use crate::roofline::Roofline;
use crate::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct InfoArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Measure what a device reaches at best: arithmetic in registers, and a copy in memory.
    #[arg(long)]
    roofline: bool,
    /// The device to measure: auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE", requires = "roofline")]
    device: Option<String>,
}

pub(super) fn info(args: InfoArgs) -> Result<ExitCode> {
    let adapters = block_on(adapters());
    let (auto, why) = Selector::Auto.choose(&adapters)?;
    let measured = if args.roofline {
        let device = block_on(Device::open(&Selector::from_flag_or_env(args.device.as_deref())))?;
        Some((device.name().to_string(), block_on(Roofline::measure(&device))?))
    } else {
        None
    };
    if args.json {
        let mut value = serde_json::json!({ "adapters": adapters, "auto": auto, "why": why });
        if let Some((device, roofline)) = measured {
            value["measured"] = serde_json::json!({ "device": device, "roofline": roofline });
        }
        let text = serde_json::to_string_pretty(&value).map_err(|e| Error::Unsupported(e.to_string()))?;
        line(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    for adapter in &adapters {
        print(adapter)?;
    }
    let taken = auto.map_or("cpu, the twins on the host's cores".into(), |i| adapters[i].label());
    line(&format!("auto takes: {taken} ({why})"))?;
    if let Some((device, roofline)) = measured {
        line(&format!("measured: {device}"))?;
        line(&format!("  {roofline}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(adapter: &AdapterReport) -> Result<()> {
    let c = &adapter.caps;
    let yes = |x: bool| if x { "yes" } else { "no" };
    let subgroup = if c.subgroup.1 == 0 { "none".into() } else { format!("{}..{}", c.subgroup.0, c.subgroup.1) };
    line(&adapter.label())?;
    line(&format!(
        "  type {}, storage binding {} MiB, buffer {} MiB",
        adapter.kind,
        c.max_binding >> 20,
        c.max_buffer >> 20
    ))?;
    line(&format!(
        "  workgroup memory {} KiB, invocations {}, storage buffers {}, groups a dimension {}",
        c.workgroup_memory >> 10,
        c.max_invocations,
        c.storage_buffers,
        c.max_groups
    ))?;
    let matrix = c.matrix.map_or("none".into(), |side| format!("{side} x {side}"));
    let (f16, timestamps) = (yes(c.f16), yes(c.timestamps));
    line(&format!("  subgroup {subgroup}, f16 {f16}, cooperative matrices {matrix}, timestamps {timestamps}"))
}
