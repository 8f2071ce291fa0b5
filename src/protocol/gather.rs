//! Statistics of some tasks, gathered with one fixed feature map, and the classifier that they give.

use std::ops::Range;
use std::path::Path;

use safetensors::Dtype;

use crate::config::Config;
use crate::data::Dataset;
use crate::device::{Device, Tensor};
use crate::model::head::Solution;
use crate::protocol::archive::{Archive, serialize};
use crate::protocol::feed::Feed;
use crate::protocol::run::{Meter, Watch};
use crate::protocol::{Tasks, build};
use crate::report::replace;
use crate::{Error, Result};

/// Gathers the statistics of the training images of `tasks` on the frozen backbone, without noise.
///
/// # Errors
/// [`Error::Config`] where `noise` is on (every task would change the features) or a task does not exist; device errors.
pub async fn gather(
    config: &Config,
    device: &Device,
    dataset: &Dataset,
    tasks: Range<usize>,
    watch: &mut dyn Watch,
) -> Result<Archive> {
    if config.noise {
        return Err(Error::Config(
            "`noise` must be false: statistics can be joined only if all are of the same features".into(),
        ));
    }
    let split = Tasks::of(config, &dataset.classes)?;
    if tasks.is_empty() || tasks.end > split.count() {
        return Err(Error::Config(format!(
            "--tasks {}-{}: the tasks are 0-{}",
            tasks.start,
            tasks.end as i64 - 1,
            split.count() - 1
        )));
    }
    let mut core = build::core(config, device)?;
    let feed = Feed::new(config, &core.network.vit.architecture)?;
    let first = split.classes(tasks.start).start;
    let classes = first..split.seen(tasks.end - 1);
    core.statistics.widen(classes.len())?;
    let mut meter = Meter::new(watch);
    for t in tasks {
        meter.task = t;
        let train = feed.plain(dataset.train.pick(&split.task_images(&dataset.train, t)));
        let all = (0..train.images().len()).collect();
        let train = feed.samples(&train, all, |label| split.new_label(label) - first as u32);
        core.pass(&train, None, true, "statistics", &mut meter).await?;
    }
    Ok(Archive {
        fingerprint: core.network.fingerprint(feed.described()).await?,
        classes: classes.map(|new| dataset.classes[split.order[new] as usize].clone()).collect(),
        statistics: core.statistics,
        config: config.clone(),
    })
}

/// What a classifier says of test images.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Index into the classes of the archive, for every image.
    pub truth: Vec<u32>,
    pub predicted: Vec<u32>,
}

impl Judged {
    /// Share of the images whose class was found.
    pub fn accuracy(&self) -> f64 {
        let right = self.truth.iter().zip(&self.predicted).filter(|(t, p)| t == p).count();
        right as f64 / self.truth.len() as f64
    }
}

/// Classifies the test images of the classes that the archive knows with `weights` [C, m].
///
/// # Errors
/// [`Error::Mismatch`] where its features were made by another network than its settings now make; [`Error::Data`] where
/// there is no image of its classes; device errors.
pub async fn judge(archive: &Archive, weights: &Tensor, device: &Device, dataset: &Dataset) -> Result<Judged> {
    let mut core = build::core(&archive.config, device)?;
    let feed = Feed::new(&archive.config, &core.network.vit.architecture)?;
    if let Some((part, same)) = core.network.fingerprint(feed.described()).await?.difference(&archive.fingerprint) {
        return Err(Error::Mismatch { part, same });
    }
    core.weights = weights.clone();
    let row = |label: u32| archive.classes.iter().position(|name| *name == dataset.classes[label as usize]);
    let rows: Vec<Option<usize>> = (0..dataset.classes.len() as u32).map(row).collect();
    let judged = dataset.judged();
    let idx: Vec<usize> = (0..judged.len()).filter(|&i| rows[judged.labels[i] as usize].is_some()).collect();
    if idx.is_empty() {
        return Err(Error::Data {
            file: dataset.name.clone(),
            message: "no test image of the classes gathered".into(),
        });
    }
    let row = |label: u32| rows[label as usize].expect("only known classes") as u32;
    let test = feed.samples(&feed.plain(judged.clone()), idx, row);
    let truth = test.labels.clone();
    Ok(Judged { truth, predicted: core.predict(&test).await? })
}

/// Writes a classifier as a safetensors file: `weight` [C, m], float32; in the metadata the names of its classes, what made
/// the features, the settings (gamma among them) and the residual.
///
/// # Errors
/// [`Error::Io`], device errors.
pub async fn save_classifier(archive: &Archive, solution: &Solution, device: &Device, path: &Path) -> Result<()> {
    let weights: Vec<f32> = device.read(&solution.weights).await?;
    let shape = solution.weights.shape().to_vec();
    let mut metadata = archive.metadata()?;
    metadata.push(("residual", solution.residual.to_string()));
    replace(path, &serialize(&[("weight", Dtype::F32, shape, bytemuck::cast_slice(&weights))], &metadata)?)
}
