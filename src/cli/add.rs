//! `minoise add`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use pollster::block_on;

use super::drive::{Keep, drive};
use super::run::{free, introduced, open};
use super::show::ShownArgs;
use super::{DATA_SETTINGS, minutes};
use crate::config::Sizes;
use crate::data;
use crate::protocol::{Model, Session};
use crate::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct AddArgs {
    /// The model: the directory of a run, or its file.
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
    /// Data as for the setting `data`, of classes that are new.
    #[arg(long, value_name = "PATH")]
    data: String,
    /// Directory for the model that knows all classes; that of --checkpoint unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Classes of each task, such as 30,20; all at once unless given.
    #[arg(long, value_name = "N,N,...")]
    tasks: Option<Sizes>,
    /// The backbone, if it is not where it was.
    #[arg(long, value_name = "FILE")]
    weights: Option<String>,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Minutes between two saves within a step of a task, besides those after every step.
    #[arg(long, value_name = "MINUTES", default_value = "5", value_parser = minutes)]
    save_every: f64,
    /// One setting of the data or the training; repeat for more.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    shown: ShownArgs,
}

/// What may differ from one learning to the next.
const TRAINING_SETTINGS: &[&str] = &[
    "lr",
    "momentum",
    "weight_decay",
    "batch_size",
    "fit_batch",
    "epochs",
    "gamma",
    "memory_mib",
    "f16_activations",
    "augment",
    "crop_scale",
    "brightness",
];

pub(super) fn add(args: AddArgs) -> Result<ExitCode> {
    let dir = args.out.as_deref().unwrap_or(&args.checkpoint);
    if args.out.is_none() && !dir.is_dir() {
        let message = format!("--out is needed where --checkpoint, {}, is no directory", dir.display());
        return Err(Error::Config(message));
    }
    free(dir)?;
    let free = [DATA_SETTINGS, TRAINING_SETTINGS].concat();
    let mut config = Model::settings(&args.checkpoint)?.changed(&args.set, &free)?;
    config.data = args.data;
    if let Some(weights) = args.weights {
        config.weights = weights;
    }
    let dataset = data::load(&config.data, &config.images)?;
    let device = open(args.device.as_deref(), &config)?;
    let sizes = args.tasks.as_ref().map_or(&[][..], |sizes| sizes.as_slice());
    let session = block_on(Session::extend(&args.checkpoint, &config, &device, &dataset, sizes))?;
    let mut intro = introduced(&device, &dataset);
    intro.push(format!(
        "model:  {} classes known; accuracies are on the new ones, among all {}",
        session.classes().len() - dataset.classes.len(),
        session.classes().len()
    ));
    let every = Duration::from_secs_f64(60.0 * args.save_every);
    drive(session, &intro, Some(&Keep { dir, every }), args.shown)
}
