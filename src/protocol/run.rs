//! The run loop: tasks in order, learning, judging, results.

use rand::seq::SliceRandom;

use crate::Result;
use crate::config::{Config, Profile};
use crate::data::Dataset;
use crate::device::Device;
use crate::host::Instant;
use crate::method::{Method, Observer, Phase, Task};
use crate::protocol::build::{self, Purpose};
use crate::protocol::feed::Feed;
use crate::protocol::{Metrics, Tasks};
use crate::report::{Results, Seconds};

/// Follows a run.
pub trait Watch {
    /// Called after every task.
    ///
    /// `predicted` holds the new label given to every judged image of the classes seen, in their order;
    /// `seconds` is the time that the task took, learning and judging.
    fn task(&mut self, _metrics: &Metrics, _predicted: &[u32], _seconds: f64) {}
    /// Something that the user should know of the settings, before the first task.
    fn note(&mut self, _text: &str) {}
    /// A pass over `total` images begins.
    fn begin(&mut self, _label: &str, _total: usize) {}
    /// `n` more images are done.
    fn advance(&mut self, _n: usize) {}
    /// The pass is over; `message` tells its loss and time.
    fn end(&mut self, _message: &str) {}
}

/// The watch of a run, and the clock of the noise phase.
pub(super) struct Meter<'a> {
    watch: &'a mut dyn Watch,
    pub task: usize,
    start: Instant,
    noise: f64,
}

impl<'a> Meter<'a> {
    pub fn new(watch: &'a mut dyn Watch) -> Self {
        Self { watch, task: 0, start: Instant::now(), noise: 0.0 }
    }
}

impl Observer for Meter<'_> {
    fn begin(&mut self, _: Phase, what: &str, total: usize) {
        self.watch.begin(&format!("task {}, {what}", self.task), total);
        self.start = Instant::now();
    }

    fn advance(&mut self, n: usize) {
        self.watch.advance(n);
    }

    fn end(&mut self, phase: Phase, loss: Option<f64>) {
        let seconds = self.start.elapsed().as_secs_f64();
        if phase == Phase::Noise {
            self.noise += seconds;
        }
        let loss = loss.map_or(String::new(), |l| format!("loss {l:.4}, "));
        self.watch.end(&format!("{loss}{seconds:.1} s"));
    }
}

/// Learns all tasks of `dataset` on `device` and judges after each.
///
/// # Errors
/// Settings that do not fit the data or the weights, device errors, a Gram matrix that is not positive definite.
pub async fn run(config: &Config, device: &Device, dataset: &Dataset, watch: &mut dyn Watch) -> Result<Results> {
    let core = build::core(config, device)?;
    let aside = &core.network.vit.left_aside;
    if !aside.is_empty() {
        watch.note(&format!(
            "{} tensors of the weights are no part of the backbone: {}",
            aside.len(),
            aside.join(", ")
        ));
    }
    match config.profile {
        Profile::Paper => learn_all(config, device, dataset, build::paper(config, core)?, watch).await,
        Profile::Official => learn_all(config, device, dataset, build::official(config, core)?, watch).await,
    }
}

/// Shuffled batches of all epochs of a task.
fn schedule(config: &Config, task: usize, n: usize) -> Vec<Vec<usize>> {
    let epochs = if task == 0 { config.init_epochs } else { config.epochs };
    let mut rng = build::rng(config.seed, Purpose::Schedule { task });
    let mut order: Vec<usize> = (0..n).collect();
    let mut batches = Vec::new();
    for _ in 0..epochs {
        order.shuffle(&mut rng);
        batches.extend(order.chunks(config.batch_size).map(<[usize]>::to_vec));
    }
    batches
}

async fn learn_all(
    config: &Config,
    device: &Device,
    dataset: &Dataset,
    mut method: impl Method,
    watch: &mut dyn Watch,
) -> Result<Results> {
    let start = Instant::now();
    let tasks = Tasks::of(config, &dataset.classes)?;
    let feed = Feed::new(config, &method.core().network.vit.architecture)?;
    let judged = feed.plain(dataset.judged().clone());
    let mut metrics = Metrics::default();
    let (mut seconds, before) = (Seconds::default(), device.stats());
    let mut meter = Meter::new(watch);
    for t in 0..tasks.count() {
        let task_start = Instant::now();
        meter.task = t;
        let train = feed.training(dataset.train.pick(&tasks.task_images(&dataset.train, t)));
        let train = feed.samples(&train, (0..train.images().len()).collect(), |label| tasks.new_label(label));
        let schedule = schedule(config, t, train.len());
        let task = Task { samples: &train, classes: tasks.seen(t), schedule: &schedule };
        if t == 0 {
            method.prewarm(&task)?;
        }
        let (learn_start, noise) = (Instant::now(), meter.noise);
        method.learn(&task, &mut meter).await?;
        device.finish().await?;
        seconds.analytic += learn_start.elapsed().as_secs_f64() - (meter.noise - noise);
        let eval_start = Instant::now();
        let test = feed.samples(&judged, tasks.seen_images(judged.images(), t), |label| tasks.new_label(label));
        let predicted = method.core().predict(&test).await?;
        metrics.push(&tasks, &test.labels, &predicted)?;
        seconds.eval += eval_start.elapsed().as_secs_f64();
        // Tensors grow with every task, so buffers of the old sizes would only pile up.
        device.trim();
        meter.watch.task(&metrics, &predicted, task_start.elapsed().as_secs_f64());
    }
    let after = device.stats();
    seconds.noise = meter.noise;
    seconds.data = feed.waited().as_secs_f64();
    seconds.compile = after.compile_seconds - before.compile_seconds;
    seconds.total = start.elapsed().as_secs_f64();
    let dispatches = after.dispatches - before.dispatches;
    Ok(Results::new(config.clone(), device.name().into(), metrics, seconds, after.peak_bytes, dispatches))
}
