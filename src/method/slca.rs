//! SLCA (RIVALS section 9): the whole backbone learns, at a lower rate than the heads, and then the heads of all tasks are aligned
//! by features that are drawn from the statistics of their classes.
//!
//! Source: arXiv 2303.05118; GengDavid/SLCA, `models/slca.py`, `models/base.py`, `convs/linears.py`. Differs: the authors' task of
//! a class is its number divided by the size of the newest task, which takes tasks of one size; LAMDA-PILOT aligns for 3 epochs.

mod alignment;
mod state;

use std::rc::Rc;

use crate::autograd::{Linear, Tape, Var};
use crate::config;
use crate::device::{DType, Device, Tensor};
use crate::method::frozen::{Seen, features};
use crate::method::trained::{Descent, Given, Graded, Pupil};
use crate::method::{Observer, Point, Task, check_finite};
use crate::model::head::gaussian::Gaussian;
use crate::model::head::prototype::{affine, class_means};
use crate::model::optimizer::{Parameter, Rule, Schedule};
use crate::model::state::{put, upload};
use crate::model::vit::Vit;
use crate::store::Tree;
use crate::{Error, Result};

use alignment::Alignment;

/// Where random numbers come from.
pub(crate) trait SlcaDraws: std::fmt::Debug {
    /// First weight [classes, d] of the head of a task.
    ///
    /// # Errors
    /// Where there is none.
    fn head(&self, task: usize, shape: [usize; 2]) -> Result<Vec<f64>>;

    /// z [n, d] for features of a class in an epoch of the alignment behind a task.
    ///
    /// # Errors
    /// Where there are none.
    fn normals(&self, task: usize, epoch: usize, class: usize, shape: [usize; 2]) -> Result<Vec<f64>>;

    /// The order in which an epoch sees so many features: each number below that once.
    ///
    /// # Errors
    /// Where there is none.
    fn order(&self, task: usize, epoch: usize, features: usize) -> Result<Vec<usize>>;
}

/// How all tasks are trained.
#[derive(Clone, Debug)]
pub(crate) struct SlcaCourse {
    pub of: config::Slca,
    /// Rate of the heads.
    pub lr: f64,
    pub momentum: f64,
    pub weight_decay: f64,
    /// Epochs of the first task, and of a later one.
    pub epochs: [usize; 2],
}

impl SlcaCourse {
    fn rule(&self, lr: f64) -> Rule {
        Rule::Sgd { lr, momentum: self.momentum, weight_decay: self.weight_decay }
    }
}

/// A linear head.
#[derive(Clone, Debug)]
struct Head {
    /// [classes, d].
    weight: Tensor,
    /// `[classes]`.
    bias: Tensor,
}

impl Head {
    /// With nothing in particular in it.
    fn new(device: &Device, classes: usize, d: usize) -> Result<Self> {
        Ok(Self { weight: device.reals(&[classes, d])?, bias: device.reals(&[classes])? })
    }

    /// A copy of several as one.
    fn joined(device: &Device, heads: &[Self], d: usize) -> Result<Self> {
        let (all, mut class) = (Self::new(device, heads.iter().map(Self::classes).sum(), d)?, 0);
        for head in heads {
            device.copy(&head.weight, 0, &all.weight, class * d, head.weight.len())?;
            device.copy(&head.bias, 0, &all.bias, class, head.bias.len())?;
            class += head.classes();
        }
        Ok(all)
    }

    fn classes(&self) -> usize {
        self.weight.rows()
    }

    fn logits(&self, tape: &mut Tape, f: &Var) -> Result<Var> {
        let (weight, bias) = (tape.var(&self.weight), tape.var(&self.bias));
        tape.linear(f, Linear { transposed: true, bias: Some(&bias), ..Linear::new(&weight) })
    }

    /// As parameters of this name.
    fn parameters(&self, name: &str) -> [Parameter; 2] {
        [("weight", &self.weight), ("bias", &self.bias)]
            .map(|(part, tensor)| Parameter::whole(&format!("{name}.{part}"), tensor))
    }

    async fn state(&self, device: &Device) -> Result<Tree> {
        let mut tree = Tree::new();
        put(&mut tree, "weight", device, &self.weight).await?;
        put(&mut tree, "bias", device, &self.bias).await?;
        Ok(tree)
    }

    /// Takes what [`Head::state`] gave out of `tree`, for features of d numbers.
    fn restored(device: &Device, tree: &mut Tree, weight: &str, d: usize) -> Result<Self> {
        let classes = tree.shape(weight)?.first().copied().unwrap_or(0);
        let weight = upload(tree, weight, device, &[classes, d])?;
        Ok(Self { weight, bias: upload(tree, "bias", device, &[classes])? })
    }
}

/// Stage 1 of a task trains the backbone, at `backbone_rate` of the rate, and a head of its own for its classes. Then features of
/// its clean images give the mean and the covariance of each of its classes, which stay as they are from then on. Stage 2 aligns
/// a copy of all heads, which predicts, and from which no later task starts: per epoch, n features of every class c are drawn,
/// `x = k_c mean_c + L_c z`, `k_c = 0.9 + 0.1 (task of c + 1) / (t + 1)`; the loss is the cross-entropy of
/// `logits / (tau nu)`, see [`Alignment::normalised`].
#[derive(Debug)]
pub(crate) struct Slca {
    course: SlcaCourse,
    draws: Rc<dyn SlcaDraws>,
    /// The backbone that is trained.
    vit: Vit,
    /// Of every task, as stage 1 left it.
    heads: Vec<Head>,
    classes: Vec<Gaussian>,
    /// What predicts.
    aligned: Head,
    alignment: Option<Alignment>,
}

impl Slca {
    /// Trains a backbone that [`Vit::load_trainable`] made.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn new(vit: &Vit, course: SlcaCourse, draws: Rc<dyn SlcaDraws>) -> Result<Self> {
        let aligned = Head::new(vit.device(), 0, vit.architecture.sizes.dim)?;
        Ok(Self { course, draws, vit: vit.clone(), heads: vec![], classes: vec![], aligned, alignment: None })
    }

    /// Of every class seen, in their order.
    pub fn classes(&self) -> &[Gaussian] {
        &self.classes
    }

    fn d(&self) -> usize {
        self.vit.architecture.sizes.dim
    }

    /// Sizes of the tasks.
    fn sizes(&self) -> Vec<usize> {
        self.heads.iter().map(Head::classes).collect()
    }

    /// The statistics of the new classes.
    fn describe(&mut self, device: &Device, seen: &Seen<'_>) -> Result<()> {
        let (d, ridge) = (seen.width(), self.course.of.cov_ridge);
        let means = class_means(seen.rows(), d, seen.labels(), seen.classes());
        for (c, mean) in seen.classes().zip(means.chunks(d)) {
            let own = seen.rows().chunks(d).zip(seen.labels()).filter(|(_, y)| **y as usize == c);
            let own: Vec<f64> = own.flat_map(|(row, _)| row).copied().collect();
            let class = Gaussian::of(device, &own, mean, ridge).map_err(|e| match e {
                Error::NotPositiveDefinite { .. } => {
                    Error::Config(format!("`slca.cov_ridge` = {ridge}: class {c} cannot be drawn from; use more"))
                }
                e => e,
            })?;
            self.classes.push(class);
        }
        Ok(())
    }
}

impl Pupil for Slca {
    const LOOKS: bool = true;
    const WHAT: &'static str = "class statistics and alignment";

    fn epochs(&self, task: usize) -> usize {
        self.course.epochs[task.min(1)]
    }

    async fn begin(&mut self, vit: &Vit, task: &Task) -> Result<()> {
        if self.heads.len() != task.index {
            let known = self.heads.len();
            return Err(Error::Unsupported(format!(
                "task {} needs all heads before it, {known} are there",
                task.index
            )));
        }
        let mut counts = vec![0; task.classes - task.first_class];
        task.samples.labels.iter().for_each(|&y| counts[y as usize - task.first_class] += 1);
        if let Some(c) = counts.iter().position(|&n| n < 2) {
            return Err(Error::Config(format!(
                "`method` = slca: class {} has {} training images, a covariance takes at least 2",
                task.first_class + c,
                counts[c]
            )));
        }
        let (device, shape) = (vit.device(), [counts.len(), self.d()]);
        let weight = device.upload(&self.draws.head(task.index, shape)?, &shape)?;
        self.heads.push(Head { weight, bias: device.zeros(&[counts.len()])? });
        Ok(())
    }

    fn descent(&self, task: &Task) -> Descent {
        let config::Slca { backbone_rate: rate, ref milestones, lr_decay: decay, .. } = self.course.of;
        let backbone = self.vit.trainable().into_iter();
        let backbone =
            backbone.map(|x| Parameter { rate, ..Parameter::whole(&format!("backbone.{}", x.name), x.tensor) });
        let head = self.heads.last().map(|head| head.parameters(&format!("head.{}", task.index)));
        Descent {
            parameters: backbone.chain(head.into_iter().flatten()).collect(),
            rule: self.course.rule(self.course.lr),
            schedule: Schedule::Steps { milestones: milestones.clone(), decay },
            clip: None,
        }
    }

    fn loss(&self, vit: &Vit, tape: &mut Tape, given: &Given<'_>) -> Result<Graded> {
        let missing = || Error::Unsupported("there is no head to train".into());
        let head = self.heads.last().ok_or_else(missing)?;
        let f = vit.features(tape, &given.images, |tape, j, x| vit.block(tape, j, &x))?;
        let logits = head.logits(tape, &f)?;
        Ok(tape.cross_entropy(&logits, &given.labels, given.loss)?.into())
    }

    /// The statistics, and the steps of the alignment.
    fn total(&self, seen: &Seen<'_>) -> usize {
        1 + self.alignment_steps(seen.task.index, seen.task.classes)
    }

    async fn learn(
        &mut self,
        device: &Device,
        seen: &Seen<'_>,
        done: usize,
        observer: &mut dyn Observer,
    ) -> Result<usize> {
        let steps = self.alignment_steps(seen.task.index, seen.task.classes);
        let Some(step) = done.checked_sub(1) else {
            let (sizes, known) = (self.sizes().iter().sum::<usize>(), self.classes.len());
            if sizes != seen.task.classes || known != seen.task.first_class {
                let message =
                    format!("its heads are of {sizes} classes, {known} of which are described; that is another task");
                return Err(Error::Store { file: "state".into(), message });
            }
            self.describe(device, seen)?;
            let head = Head::joined(device, &self.heads, self.d())?;
            if steps > 0 {
                self.alignment = Some(self.alignment(device, head)?);
            } else {
                self.aligned = head;
            }
            return Ok(done + 1);
        };
        let missing = || Error::Unsupported("there is no alignment to go on with".into());
        let mut alignment = self.alignment.take().ok_or_else(missing)?;
        self.align(device, seen.task, &mut alignment, step, observer).await?;
        if step + 1 < steps {
            self.alignment = Some(alignment);
            return Ok(done + 1);
        }
        let losses: Vec<f64> = device.read(&alignment.loss).await?;
        check_finite("the losses of the alignment", &losses, "slca.ca_lr")?;
        observer.inspect(Point::Losses(&losses))?;
        for Parameter { path, tensor, .. } in &alignment.head.parameters("aligned") {
            check_finite(&format!("numbers of `{path}`"), &device.read::<f64>(tensor).await?, "slca.ca_lr")?;
        }
        observer.inspect(Point::Learned(&alignment.head.parameters("aligned")))?;
        self.aligned = alignment.head;
        Ok(done + 1)
    }

    fn scores(&self, vit: &Vit, images: &Tensor) -> Result<Tensor> {
        affine(vit.device(), &features(vit, images)?, &self.aligned.weight, &self.aligned.bias)
    }

    fn learned(&self) -> Vec<Parameter> {
        let backbone = self.vit.trainable().into_iter();
        let backbone = backbone.map(|x| Parameter::whole(&format!("backbone.{}", x.name), x.tensor));
        let heads = self.heads.iter().enumerate().flat_map(|(i, head)| head.parameters(&format!("head.{i}")));
        backbone.chain(heads).chain(self.aligned.parameters("aligned")).collect()
    }

    async fn state(&self, device: &Device) -> Result<Tree> {
        self.saved(device).await
    }

    async fn restore(&mut self, vit: &Vit, tree: Tree) -> Result<()> {
        self.restored(vit, tree).await
    }

    fn rehearsal(&self, vit: &Vit, task: &Task) -> Result<Self> {
        let (planner, d) = (vit.device(), self.d());
        let sizes = [task.first_class, task.classes - task.first_class].into_iter().filter(|&size| size > 0);
        Ok(Self {
            course: self.course.clone(),
            draws: self.draws.clone(),
            vit: vit.clone(),
            heads: sizes.map(|size| Head::new(planner, size, d)).collect::<Result<_>>()?,
            classes: Vec::new(),
            aligned: Head::new(planner, task.classes, d)?,
            alignment: None,
        })
    }

    fn plan(&self, device: &Device, _: &Tensor, classes: usize) -> Result<()> {
        if self.heads.len() < 2 {
            return Ok(());
        }
        let (n, d) = (self.course.of.ca_samples, self.d());
        affine(device, &device.reals(&[n, d])?, &device.reals(&[d, d])?, &device.reals(&[d])?)?;
        let mut alignment = self.alignment(device, Head::new(device, classes, d)?)?;
        let (features, labels) = (device.reals(&[n, d])?, device.empty(&[n], DType::U32)?);
        let gradients = alignment.gradients(device, &features, &labels, 0)?;
        alignment.optimizer.step(&gradients, 1.0)
    }

    fn occupy(&self, planner: &Device, f: &Tensor, classes: usize) -> Result<Vec<Tensor>> {
        if f.rows() > 0 {
            self.plan(planner, f, classes)?;
        }
        Ok(Vec::new())
    }
}
