//! Replays of runs of rivals.

use std::ops::Range;

use super::{Judge, Outcome, adapters, prompts, slca, top};
use crate::config::Method;
use crate::device::{Device, Tensor};
use crate::method::{Acil, DsAl, FeCam, Frozen, Head, Learner, Ncm, Observer, Phase, Point, RanPac, SimpleCil, Task};
use crate::model::vit::{Vit, transpose};
use crate::protocol::golden::{Golden, RivalCase};
use crate::{Error, Result};

/// Images that are taken at once: a prime, so that the last batch is a part.
pub(super) const BATCH: usize = 13;

/// Ridges below 1 are noise in single precision: the losses from 10^0 on are judged.
const JUDGED: usize = 8;

/// What a head showed of its work on a task.
#[derive(Default)]
struct Shown {
    covariances: Vec<f64>,
    correlations: Vec<f64>,
    losses: Vec<f64>,
}

impl Observer for Shown {
    fn begin(&mut self, _: Phase, _: &str, _: usize) {}
    fn advance(&mut self, _: usize) {}
    fn end(&mut self, _: Phase, _: Option<f64>) {}

    fn inspect(&mut self, point: Point<'_>) -> Result<()> {
        match point {
            Point::Spread { covariance, correlation } => {
                self.covariances.extend(covariance);
                self.correlations.extend(correlation);
            }
            Point::RidgeLosses(losses) => self.losses = losses.to_vec(),
            _ => {}
        }
        Ok(())
    }
}

/// A head of which a file records what it learned.
trait Recorded: Head {
    /// Whether the smallest of the recorded scores wins.
    const LOWEST: bool = false;

    /// What is recorded in place of a score.
    fn recorded(score: f64) -> f64 {
        score
    }

    /// The batches of task t, as positions in `idx`.
    fn schedule(_: &Golden, _t: usize, _idx: &[usize]) -> Result<Vec<Vec<usize>>> {
        Ok(Vec::new())
    }

    /// Compares what stands after a task, whose classes are `new`, with what is recorded at `at`.
    async fn judged(&self, judge: &mut Judge<'_>, at: &str, new: Range<usize>, shown: &Shown) -> Result<()>;
}

/// Compares the means [C, d] of the new classes.
pub(super) fn means(judge: &mut Judge<'_>, at: &str, new: Range<usize>, all: &[f64]) -> Result<()> {
    let d = all.len() / new.end;
    judge.compare("means", &format!("{at}class_mean"), &all[new.start * d..new.end * d], 1e-4)
}

impl Recorded for SimpleCil {
    async fn judged(&self, judge: &mut Judge<'_>, at: &str, new: Range<usize>, _: &Shown) -> Result<()> {
        means(judge, at, new, self.means())
    }
}

impl Recorded for Ncm {
    const LOWEST: bool = true;

    /// Distances of rows of length one.
    fn recorded(score: f64) -> f64 {
        (1.0 - 2.0 * score).max(0.0).sqrt()
    }

    async fn judged(&self, judge: &mut Judge<'_>, at: &str, new: Range<usize>, _: &Shown) -> Result<()> {
        means(judge, at, new, self.means())
    }
}

impl Recorded for FeCam {
    const LOWEST: bool = true;

    /// Squared distances.
    fn recorded(score: f64) -> f64 {
        score * score
    }

    async fn judged(&self, judge: &mut Judge<'_>, at: &str, new: Range<usize>, shown: &Shown) -> Result<()> {
        means(judge, at, new, self.means())?;
        judge.compare("covariances", &format!("{at}cov"), &shown.covariances, 1e-4)?;
        judge.compare("correlations", &format!("{at}corr"), &shown.correlations, 1e-4)
    }
}

impl Recorded for RanPac {
    fn schedule(golden: &Golden, t: usize, idx: &[usize]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![golden.order(&format!("task{t}.order"), idx)?])
    }

    async fn judged(&self, judge: &mut Judge<'_>, at: &str, new: Range<usize>, shown: &Shown) -> Result<()> {
        let tensors = &judge.golden.tensors;
        let (name, lambda) = (format!("{at}ridge_loss"), format!("{at}lambda"));
        let (want, ridge) = (tensors.get(&name)?, tensors.shaped(&lambda, &[1])?[0]);
        let [want, got] = [want, &shown.losses].map(|losses| losses.get(JUDGED..).unwrap_or_default());
        judge.compare_with("ridge losses", &name, want, got, 1e-3)?;
        let chosen = self.solved().is_some_and(|solved| f64::from(solved.gamma as f32) == ridge);
        judge.record("lambda", &lambda, f64::from(u8::from(!chosen)), 0.0);
        let m = self.statistics().features();
        let (packed, sums) = self.statistics().export().await?;
        let entry = |at: usize| {
            let (row, col) = ((at / m).max(at % m), (at / m).min(at % m));
            packed[row * (row + 1) / 2 + col]
        };
        let gram: Vec<f64> = (0..m * m).map(entry).collect();
        judge.compare("G and Q", &format!("{at}G"), &gram, 1e-4)?;
        judge.compare("G and Q", &format!("{at}Q"), &transpose(&sums, new.end, m), 1e-4)?;
        judge.transposed("W", &format!("{at}W"), self.weights(), 1e-3).await
    }
}

impl Recorded for Acil {
    async fn judged(&self, judge: &mut Judge<'_>, at: &str, _: Range<usize>, _: &Shown) -> Result<()> {
        judge.transposed("W", &format!("{at}W"), self.weights(), 1e-3).await
    }
}

impl Recorded for DsAl {
    fn schedule(golden: &Golden, t: usize, idx: &[usize]) -> Result<Vec<Vec<usize>>> {
        golden.schedule(t, idx)
    }

    async fn judged(&self, judge: &mut Judge<'_>, at: &str, _: Range<usize>, _: &Shown) -> Result<()> {
        for (stream, name) in self.streams().into_iter().zip(["main", "comp"]) {
            let weights = transpose(stream.weights(), stream.classes(), stream.features());
            judge.compare("W", &format!("{at}{name}.W"), &weights, 1e-3)?;
        }
        Ok(())
    }
}

/// Replays a run, if its method is there.
pub(super) async fn replay(golden: &Golden, case: &RivalCase, device: &Device, oracle: bool) -> Result<Outcome> {
    let Some(method) = case.method() else {
        return Ok(Outcome::NotRun(format!("method {} is not there yet", case.method)));
    };
    let mut judge = Judge::new(device, golden, oracle);
    let (judge, vit) = (&mut judge, golden.vit(case, device)?);
    let d = vit.architecture.sizes.dim;
    let random = |name: &str, m: usize| golden.tensors.shaped(name, &[d, m]);
    for split in ["train", "test"] {
        let x = format!("{split}.x");
        let images = device.upload(golden.tensors.get(&x)?, golden.tensors.shape(&x)?)?;
        let features: Vec<f64> = device.read(&vit.frozen(&images)?.0).await?;
        judge.compare("features", &format!("{split}.features"), &features, 1e-4)?;
    }
    match method {
        Method::SimpleCil => {
            run(judge, case, &vit, SimpleCil::new(device, d)?, "").await?;
            run(judge, case, &vit, Ncm::new(device, d)?, "ncm.").await?;
        }
        Method::RanPac => {
            let m = case.projection;
            run(judge, case, &vit, RanPac::new(device, random("projection", m)?, m)?, "").await?;
        }
        Method::FeCam => run(judge, case, &vit, FeCam::new(d, case.shrink), "").await?,
        Method::Acil => {
            let m = case.buffer_size;
            run(judge, case, &vit, Acil::new(device, random("buffer.weight", m)?, m, case.gamma)?, "").await?;
        }
        Method::DsAl => {
            let (m, ridges) = (case.buffer_size, [case.gamma, case.gamma_comp]);
            let head = DsAl::new(device, random("buffer.weight", m)?, m, ridges, case.compensation)?;
            run(judge, case, &vit, head, "").await?;
        }
        Method::Aper => adapters::aper(judge, case, &vit).await?,
        Method::Ease => adapters::ease(judge, case, &vit).await?,
        Method::L2p => prompts::l2p(judge, case, &vit).await?,
        Method::DualPrompt => prompts::dualprompt(judge, case, &vit).await?,
        Method::Coda => prompts::coda(judge, case, &vit).await?,
        Method::Slca => slca::slca(judge, case).await?,
        Method::Min | Method::Ncm => return Err(golden.tensors.error("no file of this kind is of its method")),
    }
    Ok(Outcome::Checked(std::mem::take(&mut judge.checks)))
}

/// Learns all tasks, and compares what is recorded with `prefix` in its name.
async fn run<H: Recorded>(judge: &mut Judge<'_>, case: &RivalCase, vit: &Vit, head: H, prefix: &str) -> Result<()> {
    let (golden, device) = (judge.golden, vit.device());
    let mut learner = Frozen::new(vit.clone(), head, BATCH)?;
    let mut first_class = 0;
    for (t, classes) in case.task_classes.iter().enumerate() {
        let new = first_class..first_class + classes;
        first_class = new.end;
        let (samples, idx) = golden.samples(case.image(), "train", new.clone())?;
        let schedule = H::schedule(golden, t, &idx)?;
        let (at, mut shown) = (format!("task{t}.{prefix}"), Shown::default());
        let task = Task { index: t, samples, first_class: new.start, classes: new.end, schedule };
        learner.learn(task, &mut shown).await?;
        learner.head().judged(judge, &at, new.clone(), &shown).await?;

        let images = test_images(golden, case, device, new.end)?;
        let scores: Vec<f64> = device.read(&learner.logits(&images, 0)?).await?;
        let recorded: Vec<f64> = scores.iter().map(|&score| H::recorded(score)).collect();
        judge.compare("scores", &format!("{at}test.scores"), &recorded, 1e-3)?;
        predictions(judge, &at, &scores, new.end, H::LOWEST)?;
    }
    Ok(())
}

/// The test images of so many classes.
pub(super) fn test_images(golden: &Golden, case: &RivalCase, device: &Device, classes: usize) -> Result<Tensor> {
    let (test, _) = golden.samples(case.image(), "test", 0..classes)?;
    let pixels = test.stream(test.batches(0..test.len(), test.len(), None))?.next();
    let pixels = pixels.ok_or_else(|| Error::Unsupported("no test image".into()))??;
    test.upload(device, &pixels, 0..test.len())
}

/// Counts predictions that differ from the recorded ones where the recorded scores [n, classes] have a margin.
pub(super) fn predictions(judge: &mut Judge<'_>, at: &str, scores: &[f64], classes: usize, lowest: bool) -> Result<()> {
    let (tensors, name) = (&judge.golden.tensors, format!("{at}test.scores"));
    let (recorded, predicted) = (tensors.get(&name)?, tensors.integers(&format!("{at}test.pred"), classes as u64)?);
    let sign = if lowest { -1.0 } else { 1.0 };
    let wrong = recorded.chunks(classes).zip(scores.chunks(classes)).zip(predicted).filter(|((want, got), class)| {
        let want: Vec<f64> = want.iter().map(|x| sign * x).collect();
        top(&want).1 > 1e-3 && top(got).0 != *class
    });
    let wrong = wrong.count();
    judge.record("predictions that differ", &name, wrong as f64, 0.0);
    Ok(())
}
