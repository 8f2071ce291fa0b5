//! A run in a directory: `checkpoint.safetensors` says where it is, `model.safetensors` is what it can already do.

use std::path::{Path, PathBuf};

use crate::config::{Config, Method};
use crate::data::Dataset;
use crate::device::Device;
use crate::host::Instant;
use crate::method::{CLASSIFIER, HEAD, HEAD_STATISTICS, Learner, STATISTICS};
use crate::model::noise::PhiLayout;
use crate::protocol::session::{Session, Stage, other_data};
use crate::protocol::{Tasks, build};
use crate::store::{self, File, Tree};
use crate::{Error, Result};

const CHECKPOINT: &str = "checkpoint.safetensors";
const MODEL: &str = "model.safetensors";
/// What the files say that they are.
const CHECKPOINT_KIND: &str = "checkpoint";
pub(super) const MODEL_KIND: &str = "model";
/// Where in the state of a learner the modules of the first noise layer stand, if there are any, [modules, P].
const PHI: &str = "core/network/layers/0/phi";

/// The file of a model: `path` itself, or the one in that directory.
pub(super) fn model_file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(MODEL) } else { path.into() }
}

/// Where the classifier stands in the state of a learner, and the setting that says how long its rows are, if one does.
fn classifier(config: &Config) -> (&'static str, Option<(&'static str, usize)>) {
    match config.method {
        Method::Min => (CLASSIFIER, Some(("buffer_size", config.buffer_size))),
        Method::RanPac => (HEAD, Some(("ranpac.projection", config.ranpac.projection))),
        Method::Acil => (HEAD, Some(("acil.buffer_size", config.acil.buffer_size))),
        Method::DsAl => (HEAD, Some(("dsal.buffer_size", config.dsal.buffer_size))),
        // As long as features are.
        Method::SimpleCil
        | Method::Ncm
        | Method::FeCam
        | Method::Aper
        | Method::Ease
        | Method::L2p
        | Method::DualPrompt
        | Method::Coda
        | Method::Slca => (HEAD, None),
    }
}

/// Opens a file that must be of this kind.
pub(super) fn open(path: &Path, kind: &str) -> Result<File> {
    let file = File::open(path)?;
    if file.kind() != kind {
        let message = format!("it is of the kind `{}`, one of the kind `{kind}` is needed", file.kind());
        return Err(Error::Store { file: path.display().to_string(), message });
    }
    Ok(file)
}

/// The settings in a file.
pub(super) fn settings(tree: &mut Tree) -> Result<Config> {
    let value = tree.get("config")?;
    Config::from_json(value).map_err(|e| tree.error(format!("its settings are refused: {e}")))
}

/// A classifier, the names of its classes, and all that it takes to make features again.
#[derive(Debug)]
pub(super) struct Saved {
    pub config: Config,
    pub classes: Vec<String>,
    /// Tasks that were learned.
    pub tasks: usize,
    pub backbone: String,
    /// How images are seen.
    pub images: String,
    /// The state of the learner.
    pub learner: Tree,
}

impl Saved {
    /// Reads the model of a directory, or a file; without statistics it is quick.
    pub fn read(path: &Path, statistics: bool) -> Result<Self> {
        let file = open(&model_file(path), MODEL_KIND)?;
        let left_out = if statistics { Vec::new() } else { vec![STATISTICS, HEAD_STATISTICS] };
        let left_out: Vec<String> = left_out.into_iter().map(|place| format!("learner/{place}")).collect();
        let within = |name: &str, place: &String| name.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'));
        let mut tree = file.read(|name| !left_out.iter().any(|place| within(name, place)))?;
        // Their fields came along.
        left_out.iter().for_each(|place| drop(tree.prune(place)));
        let learner = tree.prune("learner");
        let saved = Self {
            config: settings(&mut tree)?,
            classes: tree.get("classes")?,
            tasks: tree.get("tasks")?,
            backbone: tree.get("backbone")?,
            images: tree.get("images")?,
            learner,
        };
        tree.finish()?;
        let rows = saved.learner.shape(classifier(&saved.config).0)?.first().copied();
        if saved.classes.is_empty() || rows != Some(saved.classes.len()) {
            return Err(tree.error("its classifier has not as many rows as it has classes"));
        }
        if saved.tasks > saved.classes.len() {
            return Err(tree.error("it has learned more tasks than classes"));
        }
        Ok(saved)
    }

    pub fn write(self, path: &Path) -> Result<()> {
        let mut tree = Tree::new();
        tree.set("config", &self.config)?;
        tree.set("classes", &self.classes)?;
        tree.set("tasks", &self.tasks)?;
        tree.set("backbone", &self.backbone)?;
        tree.set("images", &self.images)?;
        tree.graft("learner", self.learner);
        store::write(path, MODEL_KIND, &tree)
    }

    /// The learner as it was saved; also without its state, the settings.
    pub async fn learner(self, device: &Device) -> Result<(Box<dyn Learner>, Config, Vec<String>)> {
        same_sizes(&self.config, &self.learner)?;
        let mut learner = build::learner(&self.config, device)?;
        same_backbone(&self.config, learner.as_ref(), &self.backbone)?;
        learner.restore(self.learner, None).await?;
        Ok((learner, self.config, self.classes))
    }
}

/// Refuses settings of other sizes than the state of the learner has, before memory is taken for what they ask for.
fn same_sizes(config: &Config, learner: &Tree) -> Result<()> {
    let row = PhiLayout::new(config.noise_hidden, config.phi_layers)?.len();
    let mut sized = prompts(config, learner)?;
    sized.extend(learner.has(PHI).then_some((PHI, "noise_hidden", 1, row)));
    let (classifier, cols) = classifier(config);
    sized.extend(cols.map(|(key, cols)| (classifier, key, 1, cols)));
    for (name, key, axis, size) in sized {
        let shape = learner.shape(name)?;
        if shape.get(axis) != Some(&size) {
            let what = ["rows", "columns"][axis];
            return Err(learner.error(format!("`{name}` has shape {shape:?}, by its `{key}` it has {size} {what}")));
        }
    }
    Ok(())
}

/// What settings say of the sizes of prompts: a tensor, the setting, and along which dimension it is how long.
fn prompts(config: &Config, learner: &Tree) -> Result<Vec<(&'static str, &'static str, usize, usize)>> {
    let d = learner.shape(classifier(config).0)?.get(1).copied().unwrap_or(0);
    let (l2p, dual) = (&config.l2p, &config.dualprompt);
    Ok(match config.method {
        Method::L2p => {
            vec![("head/prompt", "l2p.pool", 0, l2p.pool), ("head/prompt", "l2p.length", 1, l2p.length * d)]
        }
        Method::DualPrompt => vec![
            ("head/g_prompt", "dualprompt.g_layers", 0, dual.g_layers.len()),
            ("head/g_prompt", "dualprompt.g_length", 1, 2 * dual.g_length * d),
            ("head/e_prompt", "dualprompt.pool", 0, dual.pool),
            ("head/e_prompt", "dualprompt.e_length", 1, dual.e_layers.len() * 2 * dual.e_length * d),
        ],
        _ => Vec::new(),
    })
}

fn same_backbone(config: &Config, learner: &dyn Learner, expected: &str) -> Result<()> {
    if learner.backbone().fingerprint == expected {
        return Ok(());
    }
    let message = format!("`weights` = {} is another backbone than the one it was learned on", config.weights);
    Err(Error::Config(message))
}

/// The settings of the run in a directory.
///
/// # Errors
/// [`Error::Io`] and [`Error::Store`] where there is no checkpoint.
pub fn saved_settings(dir: &Path) -> Result<Config> {
    let mut tree = open(&dir.join(CHECKPOINT), CHECKPOINT_KIND)?.read(|_| false)?;
    settings(&mut tree)
}

/// Whether there is a run in the directory that is not over.
///
/// # Errors
/// [`Error::Io`] and [`Error::Store`] where there is something that cannot be read.
pub fn is_unfinished(dir: &Path) -> Result<bool> {
    let path = dir.join(CHECKPOINT);
    if !path.exists() {
        return Ok(false);
    }
    let mut tree = open(&path, CHECKPOINT_KIND)?.read(|_| false)?;
    Ok(tree.get::<usize>("task")? < tree.get::<Vec<usize>>("sizes")?.len())
}

impl Session {
    /// Saves where the run is, and between two tasks what it can do so far. Earlier files stay until the new ones are whole
    /// and on disk.
    ///
    /// # Errors
    /// [`Error::Io`], device errors.
    pub async fn save(&mut self, dir: &Path) -> Result<()> {
        let start = Instant::now();
        let learner = self.learner.state().await?;
        let backbone = self.learner.backbone().fingerprint.clone();
        if self.stage == Stage::Begin && self.task > 0 {
            let model = Saved {
                config: self.config.clone(),
                classes: self.classes[..self.tasks.seen(self.task - 1)].to_vec(),
                tasks: self.before + self.task,
                backbone: backbone.clone(),
                images: self.feed.described(),
                learner: learner.clone(),
            };
            model.write(&dir.join(MODEL))?;
        }
        let mut tree = Tree::new();
        tree.set("config", &self.config)?;
        tree.set("device", &self.device.name())?;
        tree.set("data", &self.data)?;
        tree.set("backbone", &backbone)?;
        tree.set("classes", &self.classes)?;
        tree.set("known", &self.tasks.known)?;
        tree.set("before", &self.before)?;
        tree.set("sizes", &self.tasks.sizes)?;
        tree.set("task", &self.task)?;
        tree.set("stage", &self.stage)?;
        tree.set("task_seconds", &self.task_seconds)?;
        tree.set("measured", &self.measured)?;
        tree.graft("learner", learner);
        store::write(&dir.join(CHECKPOINT), CHECKPOINT_KIND, &tree)?;
        self.forget_counts();
        let seconds = start.elapsed().as_secs_f64();
        self.measured.seconds.save += seconds;
        self.measured.seconds.total += seconds;
        Ok(())
    }

    /// The run in a directory, to go on with. On the device that it was saved on it gives the same bits as a run that was
    /// never interrupted.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Store`] where the checkpoint is damaged; [`Error::Config`] where the data or the backbone are
    /// not those that it began with; device errors.
    ///
    /// # Examples
    /// ```
    /// use minoise::protocol::{Progress, Unwatched, run};
    /// use minoise::{Config, Device, Session, data};
    /// use pollster::block_on;
    ///
    /// # let settings = ["noise=false", "tasks=50,50", "train_per_class=4", "test_per_class=2", "buffer_size=256"];
    /// # let config = Config::load(None, None, &settings.map(String::from))?;
    /// # let dataset = data::load(&config.data, &config.images)?;
    /// # let device = block_on(Device::open(&"cpu".into()))?;
    /// # let dir = tempfile::tempdir()?;
    /// let mut session = Session::new(&config, &device, &dataset)?;
    /// while block_on(session.step(&mut Unwatched))? != Progress::Stage {}
    /// block_on(session.save(dir.path()))?;
    /// drop(session);
    ///
    /// let mut session = block_on(Session::resume(dir.path(), &device, &dataset))?;
    /// while block_on(session.step(&mut Unwatched))? != Progress::Done {}
    ///
    /// let unbroken = block_on(run(&config, &device, &dataset, &mut Unwatched))?;
    /// assert_eq!(session.metrics().accuracy, unbroken.measured.metrics.accuracy);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn resume(dir: &Path, device: &Device, dataset: &Dataset) -> Result<Self> {
        let mut tree = open(&dir.join(CHECKPOINT), CHECKPOINT_KIND)?.read(|_| true)?;
        let config = settings(&mut tree)?;
        let state = tree.prune("learner");
        same_sizes(&config, &state)?;
        let mut classes: Vec<String> = tree.get("classes")?;
        let (known, before): (usize, usize) = (tree.get("known")?, tree.get("before")?);
        if known > classes.len() {
            return Err(tree.error("it knows more classes than it names"));
        }
        if before > known {
            return Err(tree.error("more tasks came before it than classes"));
        }
        let tasks = Tasks::again(known, &classes, tree.get("sizes")?, &dataset.classes)?;
        classes.truncate(known);
        let learner = build::learner(&config, device)?;
        same_backbone(&config, learner.as_ref(), &tree.get::<String>("backbone")?)?;
        let mut session = Self::with(&config, device, dataset, tasks, classes, before, learner)?;
        if session.data != tree.get::<String>("data")? {
            return Err(other_data(&config.data));
        }
        session.task = tree.get("task")?;
        session.stage = tree.get("stage")?;
        session.task_seconds = tree.get("task_seconds")?;
        session.measured = tree.get("measured")?;
        let saved_on: String = tree.get("device")?;
        tree.finish()?;
        let over = session.task >= session.tasks.count();
        if session.task > session.tasks.count() || (over && session.stage != Stage::Begin) {
            return Err(tree.error("it says that more tasks are done than there are"));
        }
        let rows = session.measured.metrics.matrix.iter().map(Vec::len);
        let judged = [session.measured.metrics.accuracy.len(), session.measured.seconds_per_task.len()];
        if judged != [session.task; 2] || !rows.eq(1..=session.task) {
            return Err(tree.error("it has not the results of the tasks that are done"));
        }
        if saved_on != device.name() {
            session
                .notes
                .push(format!("the run was saved on {saved_on}; on another device its last digits may differ"));
        }
        let task = (session.stage == Stage::Learn).then(|| session.current());
        session.learner.restore(state, task).await?;
        session.forget_counts();
        Ok(session)
    }

    /// A run that teaches a model the classes of other data, in tasks of these `sizes`, or all at once where there are none.
    /// `config` has the settings of the model ([`Model::settings`](crate::protocol::Model::settings)), but for those of the
    /// data and the training.
    ///
    /// # Errors
    /// [`Error::Config`] where a class is known already or a setting would make other features; those of
    /// [`Session::resume`].
    pub async fn extend(
        path: &Path,
        config: &Config,
        device: &Device,
        dataset: &Dataset,
        sizes: &[usize],
    ) -> Result<Self> {
        let mut saved = Saved::read(path, true)?;
        if config.method == Method::Min && !saved.learner.has(&format!("{STATISTICS}/counts")) {
            let message = "it has no statistics, so that it cannot learn more; give the model of a run";
            return Err(Error::Store { file: path.display().to_string(), message: message.into() });
        }
        saved.config = config.clone();
        let tasks = Tasks::further(&saved.classes, &dataset.classes, sizes)?;
        let (images, before) = (std::mem::take(&mut saved.images), saved.tasks);
        let (learner, config, classes) = saved.learner(device).await?;
        let session = Self::with(&config, device, dataset, tasks, classes, before, learner)?;
        if session.feed.described() != images {
            return Err(Error::Config(
                "`image_size` and the like must be those that the model was learned with".into(),
            ));
        }
        Ok(session)
    }
}
