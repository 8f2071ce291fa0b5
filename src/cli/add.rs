//! `minoise add`

use std::process::ExitCode;
use std::time::Duration;

use pollster::block_on;

use super::drive::{Keep, drive};
use super::run::{free, introduced, open};
use super::{AddArgs, DATA_SETTINGS};
use crate::data;
use crate::protocol::{Model, Session};
use crate::{Error, Result};

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
