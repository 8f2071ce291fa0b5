//! Replays of runs of SLCA.

use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;

use super::Judge;
use super::rival::{BATCH, predictions, test_images};
use crate::config;
use crate::device::Tensor;
use crate::method::{Learner, Observer, Phase, Point, Slca, SlcaCourse, SlcaDraws, Task, Trained};
use crate::model::optimizer::Parameter;
use crate::model::weights::Weights;
use crate::protocol::golden::RivalCase;
use crate::{Error, Result};

/// What a task showed, of both stages.
#[derive(Default)]
struct Shown {
    /// By path: gradients of the first step of each stage, and values at its end.
    gradients: Vec<(String, Tensor)>,
    learned: Vec<(String, Tensor)>,
    losses: Vec<Vec<f64>>,
    drawn: Option<Tensor>,
}

impl Observer for Shown {
    fn begin(&mut self, _: Phase, _: &str, _: usize) {}
    fn advance(&mut self, _: usize) {}
    fn end(&mut self, _: Phase, _: Option<f64>) {}

    fn inspect(&mut self, point: Point<'_>) -> Result<()> {
        match point {
            Point::FirstDescent { parameters, gradients } => {
                let missing = |path: &str| Error::Unsupported(format!("the replay has no gradient of {path}"));
                for Parameter { path, tensor, .. } in parameters {
                    let gradient = gradients.of(tensor).ok_or_else(|| missing(path))?;
                    self.gradients.push((path.clone(), gradient.clone()));
                }
            }
            Point::Learned(parameters) => {
                self.learned.extend(parameters.iter().map(|p| (p.path.clone(), p.tensor.clone())));
            }
            Point::Losses(losses) => self.losses.push(losses.to_vec()),
            Point::Drawn(features) => self.drawn = Some(features.clone()),
            _ => {}
        }
        Ok(())
    }
}

/// Random numbers as recorded, in tensors whose shapes are known.
#[derive(Debug)]
struct Recorded(Weights);

impl Recorded {
    /// Part `at` of the parts of `n` numbers that a tensor has.
    fn part(&self, name: &str, at: usize, n: usize) -> Result<&[f64]> {
        let found = self.0.get(name)?.get(at * n..(at + 1) * n);
        found.ok_or_else(|| self.0.error(format!("`{name}` has no part {at} of {n} numbers")))
    }
}

impl SlcaDraws for Recorded {
    fn head(&self, task: usize, shape: [usize; 2]) -> Result<Vec<f64>> {
        Ok(self.0.shaped(&format!("init.head.{task}.weight"), &shape)?.to_vec())
    }

    fn normals(&self, task: usize, epoch: usize, class: usize, [n, d]: [usize; 2]) -> Result<Vec<f64>> {
        let name = format!("task{task}.ca.normal");
        let classes = self.0.shape(&name)?.get(1).copied().unwrap_or(0);
        Ok(self.part(&name, epoch * classes + class, n * d)?.to_vec())
    }

    fn order(&self, task: usize, epoch: usize, features: usize) -> Result<Vec<usize>> {
        let name = format!("task{task}.ca.order");
        let place = |&x: &f64| {
            let whole = x >= 0.0 && x < features as f64 && x.fract() == 0.0;
            whole.then_some(x as usize).ok_or_else(|| self.0.error(format!("`{name}` has {x}, of {features} features")))
        };
        self.part(&name, epoch, features)?.iter().map(place).collect()
    }
}

/// Replays a run.
pub(super) async fn slca(judge: &mut Judge<'_>, case: &RivalCase) -> Result<()> {
    let golden = judge.golden;
    let vit = golden.trainable(case, &judge.device)?;
    let transposed: HashSet<String> =
        vit.trainable().into_iter().filter(|x| x.transposed).map(|x| format!("backbone.{}", x.name)).collect();
    let of = config::Slca {
        backbone_rate: case.backbone_rate,
        milestones: case.milestones.clone(),
        lr_decay: case.lr_decay,
        cov_ridge: case.cov_ridge,
        ca_lr: case.ca_lr,
        ca_epochs: case.ca_epochs,
        ca_samples: case.ca_samples,
        ca_temperature: case.ca_temperature,
    };
    let &RivalCase { lr, momentum, weight_decay, epochs, .. } = case;
    let course = SlcaCourse { of, lr, momentum, weight_decay, epochs: [epochs; 2] };
    let pupil = Slca::new(&vit, course, Rc::new(Recorded(golden.tensors.clone())))?;
    let mut learner = Trained::new(vit, pupil, BATCH, false, false)?;
    let mut seen = 0;
    for (t, classes) in case.task_classes.iter().enumerate() {
        let new = seen..seen + classes;
        seen = new.end;
        let (samples, idx) = golden.samples(case.image(), "train", new.clone())?;
        let (schedule, mut shown) = (golden.schedule(t, &idx)?, Shown::default());
        learner.learn(Task { index: t, samples, first_class: new.start, classes: seen, schedule }, &mut shown).await?;
        let at = format!("task{t}.");
        let losses = [("run.loss", true), ("ca.loss", t > 0)].into_iter().filter(|(_, there)| *there);
        for (i, (name, _)) in losses.enumerate() {
            let losses = shown.losses.get(i).map(Vec::as_slice).unwrap_or_default();
            judge.compare("loss", &format!("{at}{name}"), losses, 1e-4)?;
        }
        if let Some(features) = &shown.drawn {
            let features: Vec<f64> = judge.device.read(features).await?;
            judge.compare("drawn features", &format!("{at}ca.sample"), &features, 1e-4)?;
        }
        for (group, what, all) in
            [("first gradients", "first_grad", &shown.gradients), ("parameters", "param", &shown.learned)]
        {
            for (path, got) in all {
                match path.strip_prefix("aligned.") {
                    Some(part) => aligned(judge, group, &format!("{at}ca.{what}"), part, got, case, t).await?,
                    None if transposed.contains(path) => {
                        judge.transposed(group, &format!("{at}{what}.{path}"), got, 1e-3).await?;
                    }
                    None => {
                        let got: Vec<f64> = judge.device.read(got).await?;
                        judge.compare(group, &format!("{at}{what}.{path}"), &got, 1e-3)?;
                    }
                }
            }
        }
        statistics(judge, &at, learner.pupil(), new)?;

        let images = test_images(golden, case, &judge.device, seen)?;
        let scores: Vec<f64> = judge.device.read(&learner.logits(&images, 0)?).await?;
        judge.compare("scores", &format!("{at}test.scores"), &scores, 1e-3)?;
        predictions(judge, &at, &scores, seen, false)?;
    }
    Ok(())
}

/// Compares the means and covariances of the new classes.
fn statistics(judge: &mut Judge<'_>, at: &str, pupil: &Slca, new: Range<usize>) -> Result<()> {
    let classes = pupil.classes().get(new).unwrap_or_default();
    let means: Vec<f64> = classes.iter().flat_map(|class| &class.mean).copied().collect();
    let covariances: Vec<f64> = classes.iter().flat_map(|class| class.covariance()).collect();
    judge.compare("means", &format!("{at}class_mean"), &means, 1e-4)?;
    judge.compare("covariances", &format!("{at}class_cov"), &covariances, 1e-4)
}

/// Compares a part of all heads side by side, which are recorded one by one.
async fn aligned(
    judge: &mut Judge<'_>,
    group: &str,
    prefix: &str,
    part: &str,
    got: &Tensor,
    case: &RivalCase,
    t: usize,
) -> Result<()> {
    let got: Vec<f64> = judge.device.read(got).await?;
    let sizes = &case.task_classes[..=t];
    let row = got.len() / sizes.iter().sum::<usize>().max(1);
    let mut first = 0;
    for (i, size) in sizes.iter().enumerate() {
        judge.compare(group, &format!("{prefix}.head.{i}.{part}"), &got[first..first + size * row], 1e-3)?;
        first += size * row;
    }
    Ok(())
}
