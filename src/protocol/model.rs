//! What was learned, at work: classes of images, and how often they are right.

use std::path::Path;

use crate::config::Config;
use crate::data::{Dataset, Images};
use crate::device::Device;
use crate::method::{Extent, Learner, logits, predict};
use crate::protocol::checkpoint::{MODEL_KIND, Saved, model_file, open, settings};
use crate::protocol::feed::Feed;
use crate::{Error, Result};

/// Scores are divided by this before the softmax that is shown of them. They are regressions onto 0 and 1, so that a softmax
/// of the scores themselves would be nearly flat. The order does not depend on it, and no claim of a probability is made.
const SOFTENING: f32 = 0.1;

/// One answer for an image.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Answer {
    /// Name of the class.
    pub class: String,
    /// What the classifier gives the class; 1 for a perfect fit, 0 for none.
    pub score: f32,
    /// Softmax over all classes of the scores, each divided by 0.1.
    pub softened: f32,
}

/// What a model says of labelled images.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Index into the classes of the model, for every image.
    pub truth: Vec<u32>,
    /// What the model takes each image for, as `truth`.
    pub predicted: Vec<u32>,
    /// Classes of the model that no image is of.
    pub unjudged: Vec<String>,
    /// Classes of the data that the model does not know, whose images were left out.
    pub unknown: Vec<String>,
}

impl Judged {
    /// Share of the images whose class was found.
    pub fn accuracy(&self) -> f64 {
        let right = self.truth.iter().zip(&self.predicted).filter(|(t, p)| t == p).count();
        right as f64 / self.truth.len() as f64
    }
}

/// A classifier on its backbone.
///
/// # Examples
/// ```
/// use minoise::data::{self, Images};
/// use minoise::{Config, Device, Model};
/// use pollster::block_on;
///
/// # use minoise::{Session, protocol::{Progress, Unwatched}};
/// # let settings = ["noise=false", "tasks=50,50", "train_per_class=4", "test_per_class=2", "buffer_size=256"];
/// # let config = Config::load(None, None, &settings.map(String::from))?;
/// # let dataset = data::load(&config.data, &config.images)?;
/// # let device = block_on(Device::open(&"cpu".into()))?;
/// # let dir = tempfile::tempdir()?;
/// # let mut session = Session::new(&config, &device, &dataset)?;
/// # while block_on(session.step(&mut Unwatched))? != Progress::Done {}
/// # block_on(session.save(dir.path()))?;
/// # let file = dir.path().join("unknown.png");
/// # let picture = dataset.test.picture(0)?;
/// # let [width, height] = [picture.width as u32, picture.height as u32];
/// # image::save_buffer(&file, &picture.pixels, width, height, image::ExtendedColorType::L8)?;
/// // `dir` is the directory that a run was saved in, `file` an image of any size and format.
/// let model = block_on(Model::open(dir.path(), &device, None))?;
/// let answers = block_on(model.classify(Images::of_files(vec![file]), 3))?;
/// for answer in &answers[0] {
///     println!("{:6.2} {}", answer.score, answer.class);
/// }
/// assert_eq!(answers[0].len(), 3);
/// assert!(answers[0][0].score >= answers[0][1].score);
///
/// // The same image as one of a data set.
/// assert_eq!(block_on(model.classify(dataset.test.pick(&[0]), 3))?, answers);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Model {
    config: Config,
    classes: Vec<String>,
    pub(super) learner: Box<dyn Learner>,
    pub(super) feed: Feed,
}

impl Model {
    /// Reads the model that a run or `minoise solve` wrote: a file, or the directory of the run. `weights` names the backbone
    /// if it is not where the settings say.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Store`] where it is damaged; [`Error::Config`] where the backbone is another one; device
    /// errors.
    pub async fn open(path: &Path, device: &Device, weights: Option<&str>) -> Result<Self> {
        let mut saved = Saved::read(path, false)?;
        if let Some(weights) = weights {
            saved.config.weights = weights.into();
        }
        let images = std::mem::take(&mut saved.images);
        let tasks = saved.tasks;
        let (mut learner, config, classes) = saved.learner(device).await?;
        let feed = Feed::new(&config, &learner.backbone().architecture)?;
        let extent = Extent {
            tasks: tasks.max(1),
            classes: classes.len(),
            task_classes: 0,
            batch: 0,
            images: usize::MAX,
            samples: feed.samples(&feed.plain(Images::of_files(Vec::new())), Vec::new(), |label| label),
        };
        learner.fit_memory(&extent, config.memory_limit())?;
        if feed.described() != images {
            let message = format!("it sees images as {images}, its settings now make {}", feed.described());
            return Err(Error::Store { file: path.display().to_string(), message });
        }
        Ok(Self { config, classes, learner, feed })
    }

    /// The settings that the model of a file or directory was learned with.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Store`] where it is damaged.
    pub fn settings(path: &Path) -> Result<Config> {
        settings(&mut open(&model_file(path), MODEL_KIND)?.read(|_| false)?)
    }

    /// Images that it takes at once.
    pub fn batch(&self) -> usize {
        self.learner.fit_batch()
    }

    /// The settings that it was learned with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The names of the classes, by label.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The `top` best answers for every image, the best one first.
    ///
    /// # Errors
    /// Images that cannot be read, device errors.
    pub async fn classify(&self, images: Images, top: usize) -> Result<Vec<Vec<Answer>>> {
        let n = images.len();
        let samples = self.feed.samples(&self.feed.plain(images), (0..n).collect(), |_| 0);
        let logits = logits(self.learner.as_ref(), &samples).await?;
        Ok(logits.chunks(self.classes.len()).map(|scores| self.answers(scores, top)).collect())
    }

    fn answers(&self, scores: &[f32], top: usize) -> Vec<Answer> {
        let best = scores.iter().copied().fold(f32::MIN, f32::max);
        let soft = |score: f32| ((score - best) / SOFTENING).exp();
        let sum: f32 = scores.iter().map(|&score| soft(score)).sum();
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        let answer =
            |&c: &usize| Answer { class: self.classes[c].clone(), score: scores[c], softened: soft(scores[c]) / sum };
        order.iter().take(top).map(answer).collect()
    }

    /// Classifies the test images (or those held out) of the classes that the model knows.
    ///
    /// # Errors
    /// [`Error::Data`] where there is no image of its classes; device errors.
    pub async fn evaluate(&self, dataset: &Dataset) -> Result<Judged> {
        let row = |name: &String| self.classes.iter().position(|known| known == name);
        let rows: Vec<Option<usize>> = dataset.classes.iter().map(row).collect();
        let judged = dataset.judged();
        let known = |i: &usize| rows[judged.labels[*i] as usize].is_some();
        let idx: Vec<usize> = (0..judged.len()).filter(known).collect();
        if idx.is_empty() {
            let message = "no test image of the classes that were learned".into();
            return Err(Error::Data { file: dataset.name.clone(), message });
        }
        let row = |label: u32| rows[label as usize].expect("only known classes") as u32;
        let test = self.feed.samples(&self.feed.plain(judged.clone()), idx, row);
        let has = |c: &usize| test.labels.contains(&(*c as u32));
        let unjudged = (0..self.classes.len()).filter(|c| !has(c)).map(|c| self.classes[c].clone()).collect();
        let unknown = dataset.classes.iter().zip(&rows).filter(|(_, row)| row.is_none());
        let unknown = unknown.map(|(name, _)| name.clone()).collect();
        let predicted = predict(self.learner.as_ref(), &test).await?;
        Ok(Judged { truth: test.labels, predicted, unjudged, unknown })
    }
}
