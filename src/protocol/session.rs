//! A run in steps: tasks in order, learning, judging, results. Between any two steps it can be saved, or simply ended.

use std::sync::Arc;

use rand::seq::SliceRandom;
use tracing::Instrument;

use crate::config::Config;
use crate::data::{Dataset, Loader};
use crate::device::{Device, Stats};
use crate::host::{self, Instant};
use crate::method::random::{Purpose, rng};
use crate::method::{self, Extent, Footprint, Learner, Over, Phase, Task, predict};
use crate::protocol::build;
use crate::protocol::feed::Feed;
use crate::protocol::watch::{Meter, UnderWay, Watch};
use crate::protocol::{Metrics, Tasks};
use crate::report::{Measured, Memory, Moved, Noise, Results};
use crate::{Error, Result};

/// How far a step brought a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A part of the work on a task is done, such as a batch: a good moment to look whether to stop.
    Step,
    /// One of the steps of a task is over: a good moment to save.
    Stage,
    /// A task is learned and judged.
    Task,
    /// All tasks are.
    Done,
}

/// Where in a task a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    Begin,
    Learn,
    Judge,
}

/// A run over the tasks of a data set.
///
/// # Examples
/// The loop is the caller's, who may stop after any step:
/// ```
/// use minoise::protocol::{Progress, Unwatched};
/// use minoise::{Config, Device, Session, data};
/// use pollster::block_on;
///
/// let settings = ["noise=false", "tasks=50,50", "train_per_class=4", "test_per_class=2", "buffer_size=256"];
/// let config = Config::load(None, None, &settings.map(String::from))?;
/// let dataset = data::load(&config.data, &config.images)?;
/// let device = block_on(Device::open(&"cpu".into()))?;
///
/// let dir = tempfile::tempdir()?;
/// let mut session = Session::new(&config, &device, &dataset)?;
/// loop {
///     match block_on(session.step(&mut Unwatched))? {
///         Progress::Step => {}
///         Progress::Stage => block_on(session.save(dir.path()))?,
///         // Here already after the first of two.
///         Progress::Task | Progress::Done => break,
///     }
/// }
/// block_on(session.save(dir.path()))?;
/// assert_eq!(session.tasks(), (2, 1));
/// println!("{:.2} % of the images of 50 classes", 100.0 * session.metrics().a_last);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session {
    pub(super) config: Config,
    pub(super) device: Device,
    pub(super) dataset: Dataset,
    /// Hash of the data.
    pub(super) data: String,
    pub(super) tasks: Tasks,
    /// Names of all classes in order of appearance.
    pub(super) classes: Vec<String>,
    /// Tasks that were learned before these, from other data.
    pub(super) before: usize,
    pub(super) feed: Feed,
    judged: Arc<Loader>,
    pub(super) learner: Box<dyn Learner>,
    memory: Memory,
    /// The task that is next, or under way.
    pub(super) task: usize,
    pub(super) stage: Stage,
    pub(super) measured: Measured,
    /// What the device had done when it was last counted.
    counted: Stats,
    waited: f64,
    prewarmed: bool,
    /// Seconds that the task under way took so far.
    pub(super) task_seconds: f64,
    pass: UnderWay,
    /// Of the task under way.
    span: tracing::Span,
    /// What the user should know before the first task.
    pub(super) notes: Vec<String>,
}

impl Session {
    /// A run that has not begun.
    ///
    /// # Errors
    /// Settings that do not fit the data or the weights, device errors.
    pub fn new(config: &Config, device: &Device, dataset: &Dataset) -> Result<Self> {
        let tasks = Tasks::of(config, &dataset.classes)?;
        let learner = build::learner(config, device)?;
        Self::with(config, device, dataset, tasks, Vec::new(), 0, learner)
    }

    /// With `known` classes, which `learner` learned in `before` tasks.
    pub(super) fn with(
        config: &Config,
        device: &Device,
        dataset: &Dataset,
        tasks: Tasks,
        known: Vec<String>,
        before: usize,
        mut learner: Box<dyn Learner>,
    ) -> Result<Self> {
        let feed = Feed::new(config, &learner.backbone().architecture)?;
        let aside = &learner.backbone().left_aside;
        let told = |aside: &Vec<String>| {
            format!("{} tensors of the weights are no part of the backbone: {}", aside.len(), aside.join(", "))
        };
        let notes = Some(aside).filter(|aside| !aside.is_empty()).map(told).into_iter().collect();
        let judged = feed.plain(dataset.judged().clone());
        let longest = (0..tasks.count()).map(|t| tasks.task_images(&dataset.train, t).len()).max().unwrap_or(0);
        let batch = longest.min(config.batch_size);
        let extent = Extent {
            tasks: before + tasks.count(),
            classes: tasks.seen(tasks.count() - 1),
            task_classes: (0..tasks.count()).map(|t| tasks.classes(t).len()).max().unwrap_or(0),
            batch,
            images: longest.max(judged.images().len()),
            samples: feed.samples(&judged, Vec::new(), |label| label),
        };
        let Footprint { bytes, parts, fit_batch } = learner.fit_memory(&extent, config.memory_limit())?;
        let memory = Memory {
            planned_bytes: bytes,
            training_batch: batch,
            training_part: parts.images,
            recomputed: parts.recompute,
            fit_batch,
        };
        let mut classes = known;
        classes.extend(tasks.order.iter().map(|&label| dataset.classes[label as usize].clone()));
        Ok(Self {
            judged,
            feed,
            tasks,
            classes,
            before,
            learner,
            memory,
            task: 0,
            stage: Stage::Begin,
            measured: Measured::default(),
            counted: device.stats(),
            waited: 0.0,
            prewarmed: false,
            task_seconds: 0.0,
            pass: UnderWay::nothing(),
            span: tracing::Span::none(),
            notes,
            config: config.clone(),
            device: device.clone(),
            data: dataset.fingerprint()?,
            dataset: dataset.clone(),
        })
    }

    /// What the user should know before the first task.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The names of all classes, by new label.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The number of tasks, and how many of them are learned and judged.
    pub fn tasks(&self) -> (usize, usize) {
        (self.tasks.count(), self.task)
    }

    /// How much memory of the device the run takes, and how it stays within the limit.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// What the run is judged by so far.
    pub fn metrics(&self) -> &Metrics {
        &self.measured.metrics
    }

    /// The task that is next or under way: its images with new labels, and the batches of its training.
    pub(super) fn current(&self) -> Task {
        let (t, tasks) = (self.task, &self.tasks);
        let images = self.feed.training(self.dataset.train.pick(&tasks.task_images(&self.dataset.train, t)));
        let samples = self.feed.samples(&images, (0..images.images().len()).collect(), |label| tasks.new_label(label));
        let index = self.before + t;
        let schedule = schedule(&self.config, index, self.learner.as_ref(), samples.len());
        Task { index, first_class: tasks.classes(t).start, classes: tasks.seen(t), samples, schedule }
    }

    /// Goes on by one step, however small; `watch` hears of it.
    ///
    /// # Errors
    /// Device errors, a Gram matrix that is not positive definite, images that cannot be read.
    pub async fn step(&mut self, watch: &mut dyn Watch) -> Result<Progress> {
        if self.task == self.tasks.count() {
            return Ok(Progress::Done);
        }
        if self.span.is_none() {
            self.span = tracing::info_span!("task", task = self.before + self.task);
        }
        let span = self.span.clone();
        self.step_of_task(watch).instrument(span).await
    }

    async fn step_of_task(&mut self, watch: &mut dyn Watch) -> Result<Progress> {
        let start = Instant::now();
        let done = match self.stage {
            Stage::Begin | Stage::Learn => self.learn(watch, start).await?,
            Stage::Judge => {
                let predicted = self.judge().await?;
                let seconds = start.elapsed().as_secs_f64();
                self.measured.seconds.eval += seconds;
                let peak = &mut self.measured.peak_by_phase.eval;
                *peak = self.device.take_peak().max(*peak);
                self.measured.seconds_per_task.push(self.task_seconds + seconds);
                self.task_seconds = 0.0;
                self.count(seconds);
                let (metrics, seconds) = (&self.measured.metrics, self.measured.seconds_per_task[self.task]);
                tracing::info!(accuracy = metrics.a_last, mean = metrics.a_avg, seconds, "task over");
                watch.task(metrics, &predicted, seconds);
                self.span = tracing::Span::none();
                self.task += 1;
                self.stage = Stage::Begin;
                return Ok(Progress::Task);
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        self.task_seconds += seconds;
        self.count(seconds);
        Ok(done)
    }

    async fn learn(&mut self, watch: &mut dyn Watch, start: Instant) -> Result<Progress> {
        if self.stage == Stage::Begin {
            let task = self.current();
            self.prewarm(&task)?;
            self.learner.begin(task)?;
            self.stage = Stage::Learn;
        } else if !self.prewarmed {
            self.prewarm(&self.current())?;
        }
        let compiled = start.elapsed().as_secs_f64();
        let span = self.pass.span();
        let mut meter = Meter::new(watch, self.before + self.task, &mut self.pass);
        let step = self.learner.step(&mut meter).instrument(span).await?;
        if step.over != Over::Nothing {
            self.device.finish().await?;
        }
        let seconds = start.elapsed().as_secs_f64() - compiled;
        let Measured { seconds: spent, peak_by_phase: peaks, .. } = &mut self.measured;
        let (spent, peak) = match step.phase {
            Phase::Analytic => (&mut spent.analytic, &mut peaks.analytic),
            Phase::Noise => (&mut spent.noise, &mut peaks.noise),
        };
        *spent += seconds;
        *peak = self.device.take_peak().max(*peak);
        Ok(match step.over {
            Over::Nothing => Progress::Step,
            Over::Stage => Progress::Stage,
            Over::Task => {
                self.stage = Stage::Judge;
                Progress::Stage
            }
        })
    }

    /// Pipelines are compiled before the first task of this process.
    fn prewarm(&mut self, task: &Task) -> Result<()> {
        if !self.prewarmed {
            self.learner.prewarm(task)?;
            self.prewarmed = true;
        }
        Ok(())
    }

    /// Judges the learner by the images of all classes seen; what it says of each.
    async fn judge(&mut self) -> Result<Vec<u32>> {
        let (t, tasks) = (self.task, &self.tasks);
        let seen = tasks.seen_images(self.judged.images(), t);
        let test = self.feed.samples(&self.judged, seen, |label| tasks.new_label(label));
        let predicted = predict(self.learner.as_ref(), &test).await?;
        self.measured.metrics.push(tasks, &test.labels, &predicted)?;
        let solved = self.learner.solved();
        self.measured.gamma.extend(solved.map(|s| s.gamma));
        self.measured.residual.extend(solved.map(|s| s.residual));
        let moved = |m: method::Moved| Moved { drift: m.drift, explained: m.explained };
        self.measured.moved.push(self.learner.moved().map(moved));
        let mixed = self.learner.mixed(&test).await?;
        // Of tasks that were learned before this was measured.
        self.measured.noise.resize(t, None);
        self.measured.noise.push(mixed.map(noise));
        self.measured.peak_host_bytes = self.measured.peak_host_bytes.max(host::peak_memory());
        // Tensors grow with every task, so buffers of the old sizes would only pile up.
        self.device.trim();
        Ok(predicted)
    }

    /// Adds what this process did since the last time.
    fn count(&mut self, seconds: f64) {
        let (now, measured) = (self.device.stats(), &mut self.measured);
        measured.dispatches = measured.dispatches.saturating_add(now.dispatches - self.counted.dispatches);
        measured.seconds.compile += now.compile_seconds - self.counted.compile_seconds;
        measured.seconds.total += seconds;
        measured.peak_device_bytes = measured.peak_device_bytes.max(now.peak_bytes);
        let waited = self.feed.waited().as_secs_f64();
        measured.seconds.data += waited - self.waited;
        (self.counted, self.waited) = (now, waited);
    }

    /// What happened outside the run, such as its restoration, does not count.
    pub(super) fn forget_counts(&mut self) {
        self.counted = self.device.stats();
        self.device.take_peak();
    }

    /// Everything measured so far.
    pub fn results(&self) -> Results {
        Results {
            version: env!("CARGO_PKG_VERSION").into(),
            method: self.config.method,
            profile: self.config.profile,
            device: self.device.name().into(),
            tuned: !self.device.caps().tuned.is_empty(),
            seed: self.config.seed,
            config: self.config.clone(),
            data: self.data.clone(),
            backbone: self.learner.backbone().fingerprint.clone(),
            classes: self.classes.clone(),
            known: self.tasks.known,
            task_classes: self.tasks.sizes.clone(),
            memory: self.memory,
            measured: self.measured.clone(),
        }
    }
}

/// In as many digits as a device has.
fn noise(mixed: method::Mixed) -> Noise {
    let short = |figures: Vec<f64>| figures.into_iter().map(|x| x as f32).collect();
    Noise { mixture: mixed.mixture.into_iter().map(short).collect(), changes: short(mixed.changes) }
}

/// Shuffled batches of all epochs of a task, for what learns it.
fn schedule(config: &Config, task: usize, learner: &dyn Learner, n: usize) -> Vec<Vec<usize>> {
    let mut rng = rng(config.seed, Purpose::Schedule { task });
    let mut order: Vec<usize> = (0..n).collect();
    let mut batches: Vec<Vec<usize>> = Vec::new();
    // A task of fewer images than a batch would be left out as a whole.
    let drops = learner.drops_last() && n >= config.batch_size;
    let whole = if drops { n / config.batch_size * config.batch_size } else { n };
    for _ in 0..learner.epochs(task) {
        order.shuffle(&mut rng);
        batches.extend(order[..whole].chunks(config.batch_size).map(<[usize]>::to_vec));
    }
    batches
}

/// Learns all tasks of `dataset` on `device` and judges after each.
///
/// # Errors
/// Those of [`Session::new`] and [`Session::step`].
pub async fn run(config: &Config, device: &Device, dataset: &Dataset, watch: &mut dyn Watch) -> Result<Results> {
    let mut session = Session::new(config, device, dataset)?;
    session.notes().iter().for_each(|note| watch.note(note));
    while session.step(watch).await? != Progress::Done {}
    Ok(session.results())
}

/// The data that a run needs are not those that it began with.
pub(super) fn other_data(name: &str) -> Error {
    Error::Config(format!("`data` = {name}: labels or images are not those that the run began with; bring those back"))
}
