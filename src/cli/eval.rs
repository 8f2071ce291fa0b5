//! `minoise eval`

use std::path::PathBuf;
use std::process::ExitCode;

use pollster::block_on;

use super::{DATA_SETTINGS, line};
use crate::data;
use crate::device::{Device, Selector};
use crate::protocol::{Judged, Model};
use crate::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct EvalArgs {
    /// The model: the directory of a run, its file, or that of solve --out.
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
    /// Data as for the setting `data`; those that it learned from unless given.
    #[arg(long, value_name = "PATH")]
    data: Option<String>,
    /// The backbone, if it is not where it was.
    #[arg(long, value_name = "FILE")]
    weights: Option<String>,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Print JSON, with the accuracy of every class.
    #[arg(long)]
    json: bool,
    /// One setting of the data; repeat for more.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

pub(super) fn eval(args: EvalArgs) -> Result<ExitCode> {
    let mut config = Model::settings(&args.checkpoint)?.changed(&args.set, DATA_SETTINGS)?;
    config.data = args.data.unwrap_or(config.data);
    let dataset = data::load(&config.data, &config.images)?;
    let device = block_on(Device::open(&Selector::from_flag_or_env(args.device.as_deref())))?;
    let model = block_on(Model::open(&args.checkpoint, &device, args.weights.as_deref()))?;
    let judged = block_on(model.evaluate(&dataset))?;
    let what = if dataset.held_out.is_empty() { "test" } else { "held-out" };
    if args.json {
        return json(&judged, &model).map(|()| ExitCode::SUCCESS);
    }
    line(&format!("device:   {}", device.name()))?;
    told(&judged, what)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the accuracy, and which classes it does not speak of.
pub(super) fn told(judged: &Judged, what: &str) -> Result<()> {
    let (percent, images) = (100.0 * judged.accuracy(), judged.truth.len());
    line(&format!("accuracy: {percent:.2} % of {images} {what} images"))?;
    for (classes, text) in [
        (&judged.unjudged, "classes were learned, but there is no image of them"),
        (&judged.unknown, "classes of the data were not learned; their images are left out"),
    ] {
        if !classes.is_empty() {
            line(&format!("note:     {} {text}: {}", classes.len(), some(classes)))?;
        }
    }
    Ok(())
}

fn some(names: &[String]) -> String {
    let shown = names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 5 { format!("{shown}, ...") } else { shown }
}

#[derive(serde::Serialize)]
struct OfClass<'a> {
    class: &'a str,
    images: usize,
    accuracy: f64,
}

fn json(judged: &Judged, model: &Model) -> Result<()> {
    let mut counts = vec![(0, 0); model.classes().len()];
    for (&truth, &predicted) in judged.truth.iter().zip(&judged.predicted) {
        let (right, all) = &mut counts[truth as usize];
        *all += 1;
        *right += usize::from(truth == predicted);
    }
    let of_class = model.classes().iter().zip(counts).filter(|(_, (_, images))| *images > 0);
    let of_class =
        of_class.map(|(class, (right, images))| OfClass { class, images, accuracy: right as f64 / images as f64 });
    let value = serde_json::json!({
        "accuracy": judged.accuracy(),
        "images": judged.truth.len(),
        "classes": of_class.collect::<Vec<_>>(),
        "unjudged": judged.unjudged,
        "unknown": judged.unknown,
    });
    let text = serde_json::to_string_pretty(&value).map_err(|e| Error::Unsupported(e.to_string()))?;
    line(&text)
}
