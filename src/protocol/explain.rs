//! What a model sees in an image: where it looks, what the noise of each task changes, and what of the past is near.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::word;
use crate::data::Images;
use crate::device::{Device, Tensor};
use crate::method::{Dissected, Raw, STATISTICS};
use crate::model::explain::Explained;
use crate::model::network::Network;
use crate::model::pca::plane;
use crate::protocol::Model;
use crate::protocol::checkpoint::{MODEL_KIND, model_file, open};
use crate::report::{Dot, Dots, Scatter, Shade};
use crate::{Error, Result};

/// A class with its score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scored {
    /// Name of the class.
    pub class: String,
    /// What the classifier gives the class; 1 for a perfect fit, 0 for none.
    pub score: f64,
    /// The same where no noise module takes part; nothing where there is none.
    pub without_noise: Option<f64>,
}

/// How the noise of a task changes the scores of an image: what they are, less what they would be if its modules had no weight
/// in the mixtures and those of the other tasks had what they have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share {
    /// The task, counted from 0.
    pub task: usize,
    /// Euclidean norm of the change of the scores of all classes.
    pub change: f64,
    /// Change of the score of the class that is explained.
    pub score: f64,
}

/// Something that was learned, with its likeness to an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Near {
    /// Class, or number of the task.
    pub name: String,
    /// Cosine of the angle between the two, from -1 to 1.
    pub cosine: f64,
}

/// What a network makes of an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sight {
    /// Where its feature comes from by attention rollout, patch by patch, row after row: see [`Explanation`].
    pub rollout: Vec<f64>,
    /// What speaks for the class by Grad-CAM, as `rollout`.
    pub grad_cam: Vec<f64>,
    /// Its features f `[d1]`.
    pub features: Vec<f64>,
}

/// What a model sees in one image.
///
/// Attention rollout (Abnar and Zuidema 2020, arXiv:2005.00928): with A the attention of a block, averaged over its heads, the
/// row of the product of all `(A + I) / 2` that the feature is made of: that of the class token, or the mean of those of the
/// patches where these are averaged.
///
/// Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) on what the last block's first norm makes of the patches a, as
/// pytorch-grad-cam has it for ViTs: `relu(sum_k w_k a_k)`, `w_k` the mean over patches of `d score / d a_k`, for the score of
/// `class`. Beside an anchor (profile `robust`) both are those of the adapted network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The file.
    pub image: String,
    /// The class with the highest score, which is explained.
    pub class: String,
    /// The classes with the highest scores, the best one first.
    pub scores: Vec<Scored>,
    /// Patches along the image.
    pub grid: usize,
    /// By the network as it predicts; noise has its mean, unless `eval_noise` samples it.
    pub sight: Sight,
    /// By the network where no noise module takes part (branches and norms that were trained stay); nothing where there is none.
    pub without_noise: Option<Sight>,
    /// What the noise of each task changes, the largest change first.
    pub tasks: Vec<Share>,
    /// Classes by the cosine between random features and the mean of those that were learned from, the nearest first; empty
    /// where the file holds no statistics.
    pub nearest_classes: Vec<Near>,
    /// Tasks by the cosine between features and their prototype, the nearest first; empty where there are no prototypes.
    pub nearest_tasks: Vec<Near>,
    /// What the backbone was shown, `[channels, rows, columns]` in bytes.
    #[serde(skip)]
    pub pixels: Vec<u8>,
    /// Random features p `[m]`, of length 1.
    #[serde(skip)]
    random: Vec<f64>,
}

/// A model that can be asked for reasons.
///
/// # Examples
/// ```
/// use minoise::Device;
/// use minoise::protocol::Explainer;
/// use pollster::block_on;
///
/// # use minoise::{Config, Session, data, protocol::{Progress, Unwatched}};
/// # let settings = ["tasks=50,50", "train_per_class=2", "test_per_class=1", "buffer_size=64", "init_epochs=1", "epochs=1"];
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
/// let explainer = block_on(Explainer::open(dir.path(), &device, None))?;
/// let explanation = block_on(explainer.explain(&file, 3))?;
/// assert_eq!(explanation.scores[0].class, explanation.class);
/// let most = &explanation.tasks[0];
/// println!("{}: the noise of task {} changes most, {:.3}", explanation.class, most.task, most.change);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Explainer {
    model: Model,
    /// The network as it predicts.
    whole: Network,
    /// Without any noise module, if there are some.
    bare: Option<Network>,
    /// Without that of each task.
    lacking: Vec<Network>,
    /// Mean random features of every class, of length 1; nothing for a class without samples.
    means: Vec<Option<Vec<f64>>>,
    prototypes: Vec<Vec<f64>>,
}

impl Explainer {
    /// Reads a model as [`Model::open`] does.
    ///
    /// # Errors
    /// Those of [`Model::open`]; [`Error::Unsupported`] for a method that cannot be explained.
    pub async fn open(path: &Path, device: &Device, weights: Option<&str>) -> Result<Self> {
        let model = Model::open(path, device, weights).await?;
        let parts = dissected(&model)?;
        let whole = parts.keeping(|_| true).await?;
        let bare = if parts.tasks() > 0 { Some(parts.keeping(|_| false).await?) } else { None };
        let mut lacking = Vec::new();
        for task in 0..parts.tasks() {
            lacking.push(parts.keeping(|other| other != task).await?);
        }
        let means = class_means(path, model.classes().len(), parts.m())?;
        let prototypes = parts.prototypes().iter().filter_map(|p| unit(p)).collect();
        Ok(Self { whole, bare, lacking, means, prototypes, model })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Whether the file holds the sums of random features that the means of classes are made of.
    pub fn has_class_means(&self) -> bool {
        !self.means.is_empty()
    }

    /// Explains the class that the model gives an image file, and lists `top` classes and nearest tasks, and the noise of all.
    ///
    /// # Errors
    /// Images that cannot be read, device errors.
    pub async fn explain(&self, file: &Path, top: usize) -> Result<Explanation> {
        let parts = dissected(&self.model)?;
        let (pixels, image) = self.shown(&parts, file)?;
        let floor = parts.floor(&image)?;
        let floor = floor.as_ref();
        let found = parts.explain(&self.whole, &image, floor, None).await?;
        let bare = match &self.bare {
            Some(bare) => Some(parts.explain(bare, &image, floor, Some(found.class)).await?),
            None => None,
        };
        let mut tasks = Vec::new();
        for (task, lacking) in self.lacking.iter().enumerate() {
            let scores: Vec<f64> = parts.device().read(&parts.scores(lacking, &image, floor)?).await?;
            let change: Vec<f64> = found.scores.iter().zip(&scores).map(|(with, without)| with - without).collect();
            let norm = change.iter().map(|x| x * x).sum::<f64>().sqrt();
            tasks.push(Share { task, change: norm, score: change[found.class] });
        }
        tasks.sort_by(|a, b| b.change.total_cmp(&a.change));
        let random: Vec<f64> = parts.device().read(&parts.random_features(&found.features, floor)?).await?;
        let random = unit(&random).unwrap_or(random);
        let sight = sight(&parts, &found).await?;
        let classes = self.model.classes();
        let means = self.means.iter().zip(classes).filter_map(|(mean, name)| Some((name.clone(), mean.as_ref()?)));
        let prototypes = self.prototypes.iter().enumerate().map(|(t, p)| (t.to_string(), p));
        let nearest_tasks = unit(&sight.features).map_or(Vec::new(), |f| nearest(&f, prototypes, top));
        let mut order: Vec<usize> = (0..classes.len()).collect();
        order.sort_by(|&a, &b| found.scores[b].total_cmp(&found.scores[a]).then(a.cmp(&b)));
        let scored = |&c: &usize| Scored {
            class: classes[c].clone(),
            score: found.scores[c],
            without_noise: bare.as_ref().map(|bare| bare.scores[c]),
        };
        Ok(Explanation {
            image: file.display().to_string(),
            class: classes[found.class].clone(),
            scores: order.iter().take(top).map(scored).collect(),
            grid: self.whole.vit.architecture.sizes.grid(),
            without_noise: match &bare {
                Some(bare) => Some(self::sight(&parts, bare).await?),
                None => None,
            },
            tasks,
            nearest_classes: nearest(&random, means, top),
            nearest_tasks,
            sight,
            pixels,
            random,
        })
    }

    /// An image as the backbone is shown it: bytes `[channels, rows, columns]`, and what the device makes of them.
    fn shown(&self, parts: &Dissected<'_>, file: &Path) -> Result<(Vec<u8>, Tensor)> {
        let loader = self.model.feed.plain(Images::of_files(vec![PathBuf::from(file)]));
        let samples = self.model.feed.samples(&loader, vec![0], |label| label);
        let none = || Error::Unsupported("the samples end before the image".into());
        let raw = samples.stream(samples.batches(0..1, 1, None))?.next().ok_or_else(none)??;
        let image = samples.upload(parts.device(), &raw, 0..1)?;
        match raw {
            Raw::Bytes(bytes) => Ok((bytes, image)),
            Raw::Reals(_) => Err(Error::Unsupported("image files are read as bytes".into())),
        }
    }

    /// Channels, rows and columns of [`Explanation::pixels`].
    pub fn shape(&self) -> [usize; 3] {
        let sizes = self.whole.vit.architecture.sizes;
        [sizes.channels, sizes.image, sizes.image]
    }

    /// Images and what was learned in the plane of their first two principal components: features with the prototypes of tasks,
    /// then random features with the means of classes; all of length 1. A plane of fewer than three points is left out.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where a factorisation finds no end.
    pub fn planes(&self, explanations: &[Explanation]) -> Result<Vec<Scatter>> {
        let name = |of: &Explanation| {
            let name = Path::new(&of.image).file_name();
            name.map_or_else(|| of.image.clone(), |name| name.to_string_lossy().into_owned())
        };
        let images = |row: &dyn Fn(&Explanation) -> Option<Vec<f64>>| -> Vec<(String, Vec<f64>)> {
            explanations.iter().filter_map(|of| Some((name(of), row(of)?))).collect()
        };
        let bare = images(&|of| unit(&of.without_noise.as_ref()?.features));
        let seen = images(&|of| unit(&of.sight.features));
        let tasks = self.prototypes.iter().enumerate().map(|(t, p)| (t.to_string(), p.clone())).collect();
        let random = images(&|of| Some(of.random.clone()));
        let classes = self.means.iter().zip(self.model.classes());
        let classes = classes.filter_map(|(mean, name)| Some((name.clone(), mean.clone()?))).collect();
        let planes = [
            (
                "features and prototypes of tasks",
                vec![
                    ("prototypes of tasks", Shade::Order, tasks),
                    ("images without noise", Shade::Faint, bare),
                    ("images", Shade::Strong, seen),
                ],
            ),
            (
                "random features and means of classes",
                vec![("means of classes", Shade::Order, classes), ("images", Shade::Strong, random)],
            ),
        ];
        planes.into_iter().filter_map(|(title, groups)| scatter(title, groups).transpose()).collect()
    }
}

/// The learner of a model, where it can be taken apart.
fn dissected(model: &Model) -> Result<Dissected<'_>> {
    model.learner.dissected().ok_or_else(|| {
        Error::Unsupported(format!(
            "explain takes models of the method `min`, whose noise, features and classifier it takes apart; this one is of `{}`",
            word(model.config().method)
        ))
    })
}

async fn sight(parts: &Dissected<'_>, found: &Explained) -> Result<Sight> {
    let features = parts.device().read(&found.features).await?;
    Ok(Sight { rollout: found.rollout.clone(), grad_cam: found.grad_cam.clone(), features })
}

/// The mean random features of every class in a model file, of length 1; none where it has no statistics. Sums have the
/// direction of means.
fn class_means(path: &Path, classes: usize, m: usize) -> Result<Vec<Option<Vec<f64>>>> {
    let name = format!("learner/{STATISTICS}/sums");
    let mut tree = open(&model_file(path), MODEL_KIND)?.read(|other| other == name)?;
    if !tree.has(&name) {
        return Ok(Vec::new());
    }
    let sums = if tree.holds::<f64>(&name) {
        tree.take_shaped::<f64>(&name, &[classes, m])?
    } else {
        // Pairs of a GPU: first parts, then second parts.
        let pairs = tree.take_shaped::<f32>(&name, &[2, classes, m])?;
        let (first, second) = pairs.split_at(classes * m);
        first.iter().zip(second).map(|(&a, &b)| f64::from(a) + f64::from(b)).collect()
    };
    Ok(sums.chunks(m).map(unit).collect())
}

/// A vector of length 1, if it has a direction.
fn unit(x: &[f64]) -> Option<Vec<f64>> {
    let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
    (norm > 0.0).then(|| x.iter().map(|x| x / norm).collect())
}

/// The `top` candidates with the largest cosine to x; all of length 1.
fn nearest<'a>(x: &[f64], candidates: impl Iterator<Item = (String, &'a Vec<f64>)>, top: usize) -> Vec<Near> {
    let cosine = |y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum();
    let mut all: Vec<Near> = candidates.map(|(name, y)| Near { name, cosine: cosine(y) }).collect();
    all.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
    all.truncate(top);
    all
}

/// Groups of named points in their plane; nothing of fewer than three points.
fn scatter(title: &str, groups: Vec<(&str, Shade, Vec<(String, Vec<f64>)>)>) -> Result<Option<Scatter>> {
    let rows: Vec<Vec<f64>> = groups.iter().flat_map(|(.., rows)| rows.iter().map(|(_, row)| row.clone())).collect();
    if rows.len() < 3 {
        return Ok(None);
    }
    let found = plane(&rows)?;
    let mut points = found.points.into_iter();
    let group = |(name, shade, rows): (&str, Shade, Vec<(String, Vec<f64>)>)| Dots {
        name: name.into(),
        shade,
        dots: rows.into_iter().zip(points.by_ref()).map(|((name, _), at)| Dot { name, at }).collect(),
    };
    let groups = groups.into_iter().map(group).filter(|group| !group.dots.is_empty()).collect();
    Ok(Some(Scatter { title: title.into(), shares: found.shares, groups }))
}
