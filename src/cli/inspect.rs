//! `minoise inspect`

use std::process::ExitCode;

use super::line;
use crate::protocol::{Inspection, inspect as look};
use crate::report::mib;
use crate::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct InspectArgs {
    /// A safetensors file, an index of shards, a folder with either, hf:OWNER/NAME, or icons.
    file: String,
    /// timm's name of the architecture, where the file does not tell.
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Pixels along an image, unless it is the size that the weights were made for.
    #[arg(long, value_name = "N")]
    image_size: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn inspect(args: InspectArgs) -> Result<ExitCode> {
    let found = look(&args.file, args.arch.as_deref().unwrap_or("auto"), args.image_size)?;
    if args.json {
        let text = serde_json::to_string_pretty(&found).map_err(|e| Error::Unsupported(e.to_string()))?;
        line(&text)?;
    } else {
        print(&found)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(found: &Inspection) -> Result<()> {
    let (c, s) = (&found.architecture.sizes, &found.architecture.style);
    let word = |x: serde_json::Result<serde_json::Value>| match x {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string().replace(['{', '}', '"'], "").replace(':', " ").replace(',', ", "),
        Err(e) => e.to_string(),
    };
    let yes = |x: bool| if x { "yes" } else { "no" };
    line(&format!(
        "architecture:  width {}, {} blocks of {} heads, MLP {}, patches of {}, {} channels",
        c.dim, c.depth, c.heads, c.mlp, c.patch, c.channels
    ))?;
    line(&format!(
        "               class token {}, {} registers, position {}, qkv bias {}, mlp {}",
        yes(s.class_token),
        c.registers,
        word(serde_json::to_value(s.position)),
        word(serde_json::to_value(s.qkv_bias)),
        word(serde_json::to_value(s.mlp)),
    ))?;
    line(&format!(
        "               pre-norm {}, LayerScale {}, norm {}, fc_norm {}, pooling {}, eps {:e}",
        yes(s.norm_pre),
        yes(c.layer_scale),
        yes(s.norm),
        yes(s.fc_norm),
        word(serde_json::to_value(s.pooling)),
        c.eps
    ))?;
    let normalisation = &found.architecture.normalisation;
    line(&format!("normalisation: mean {:?}, std {:?}", normalisation.mean, normalisation.std))?;
    line(&format!("an image:      {0} x {0} pixels, {1} tokens", c.image, found.tokens))?;
    line(&format!(
        "               {:.2} GFLOP forward, {} MiB of tokens",
        found.flops / 1e9,
        mib(found.image_bytes as f64)
    ))?;
    let [single, half] = found.weight_bytes.map(|bytes| mib(bytes as f64));
    line(&format!("parameters:    {}, {single} MiB on a device, {half} MiB with f16_weights", found.parameters))?;
    line("tensors:")?;
    for (name, shape) in &found.tensors {
        line(&format!("  {name} {shape:?}"))?;
    }
    match found.left_aside.len() {
        0 => line("left aside:    nothing"),
        n => line(&format!("left aside:    {n} tensors: {}", found.left_aside.join(", "))),
    }
}
