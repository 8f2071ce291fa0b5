//! Statistics of some tasks, gathered with one fixed feature map, and the classifier that they give.

use std::ops::Range;
use std::path::Path;

use crate::config::{Config, Method, Profile};
use crate::data::Dataset;
use crate::device::Device;
use crate::method::{Extent, Solved, classifier_state};
use crate::model::head::Solution;
use crate::protocol::archive::Archive;
use crate::protocol::checkpoint::Saved;
use crate::protocol::feed::Feed;
use crate::protocol::watch::{Meter, UnderWay, Watch};
use crate::protocol::{Tasks, build};
use crate::{Error, Result};

/// Gathers the statistics of the training images of `tasks` on the frozen backbone, without noise.
///
/// # Errors
/// [`Error::Config`] where `noise` is on (every task would change the features), the method is not MiN, or a task does not
/// exist; device errors.
pub async fn gather(
    config: &Config,
    device: &Device,
    dataset: &Dataset,
    tasks: Range<usize>,
    watch: &mut dyn Watch,
) -> Result<Archive> {
    if config.method != Method::Min {
        return Err(Error::Config("`method` must be min: other methods keep statistics of their own".into()));
    }
    if config.noise {
        return Err(Error::Config(
            "`noise` must be false: statistics can be joined only if all are of the same features".into(),
        ));
    }
    if config.profile == Profile::Robust {
        return Err(Error::Config(
            "`profile` must be paper: features that profile robust adapts to the first task are not those of others"
                .into(),
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
    let all = feed.plain(dataset.train.clone());
    let extent = Extent {
        tasks: 1,
        classes: classes.len(),
        task_classes: 0,
        batch: 0,
        images: all.images().len(),
        samples: feed.samples(&all, Vec::new(), |label| label),
    };
    core.fit_passes(&extent, 0, config.memory_limit())?;
    let mut pass = UnderWay::nothing();
    for t in tasks {
        let train = feed.plain(dataset.train.pick(&split.task_images(&dataset.train, t)));
        let all = (0..train.images().len()).collect();
        let train = feed.samples(&train, all, |label| split.new_label(label) - first as u32);
        core.fit(&train, "statistics", &mut Meter::new(watch, t, &mut pass)).await?;
    }
    Ok(Archive {
        fingerprint: core.network.fingerprint(feed.described()).await?,
        classes: classes.map(|new| dataset.classes[split.order[new] as usize].clone()).collect(),
        statistics: core.statistics,
        config: config.clone(),
    })
}

/// Writes a classifier as a model that [`Model::open`](crate::protocol::Model::open) reads, without statistics.
///
/// # Errors
/// [`Error::Io`], device errors.
pub async fn save_classifier(
    archive: &Archive,
    gamma: f64,
    solution: &Solution,
    device: &Device,
    path: &Path,
) -> Result<()> {
    let solved = Solved { gamma, residual: solution.residual };
    let saved = Saved {
        config: archive.config.clone(),
        classes: archive.classes.clone(),
        tasks: 0,
        backbone: archive.fingerprint.backbone.clone(),
        images: archive.fingerprint.images.clone(),
        learner: classifier_state(device, &solution.weights, solved).await?,
    };
    saved.write(path)
}
