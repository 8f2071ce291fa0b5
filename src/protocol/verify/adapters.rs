//! Replays of runs of methods that train adapters.

use std::ops::Range;
use std::rc::Rc;

use super::Judge;
use super::prompts::Shown;
use super::rival::{BATCH, means, predictions, test_images};
use crate::Result;
use crate::device::Tensor;
use crate::method::{Aper, Ease, First, Learner, Pupil, SimpleCil, Task, Trained, Tuning};
use crate::model::adapter::Bottleneck;
use crate::model::optimizer::Rule;
use crate::model::vit::Vit;
use crate::protocol::golden::{Golden, RivalCase};

/// A method of which a file records what it learned.
trait Recorded: Pupil {
    /// Compares what stands after a task, whose classes are `new`, with what is recorded at `at`.
    fn judged(&self, judge: &mut Judge<'_>, at: &str, new: Range<usize>) -> Result<()>;
}

impl Recorded for Aper<SimpleCil> {
    fn judged(&self, judge: &mut Judge<'_>, at: &str, new: Range<usize>) -> Result<()> {
        means(judge, at, new, self.head().means())
    }
}

impl Recorded for Ease {
    fn judged(&self, judge: &mut Judge<'_>, at: &str, _: Range<usize>) -> Result<()> {
        judge.compare("prototypes", &format!("{at}prototypes"), self.prototypes(), 1e-3)
    }
}

/// Training as the case has it, from first values as recorded; what is not drawn starts as it does in every run.
fn tuning(golden: &Golden, case: &RivalCase) -> Tuning {
    let tensors = golden.tensors.clone();
    let draw = move |task: usize, first: First, n: usize| {
        let what = match first {
            First::Down(block) => format!("adapter.{block}.down.weight"),
            First::Head => "head.weight".into(),
        };
        let name = format!("init.task{task}.{what}");
        match tensors.get(&name)? {
            found if found.len() == n => Ok(found.to_vec()),
            found => Err(tensors.error(format!("`{name}` has {} numbers, {n} are needed", found.len()))),
        }
    };
    let &RivalCase { lr, momentum, weight_decay, epochs, .. } = case;
    Tuning {
        of: Bottleneck { hidden: case.adapter_hidden, scale: case.adapter_scale },
        dropout: 0.0,
        rule: Rule::Sgd { lr, momentum, weight_decay },
        epochs: [epochs; 2],
        seed: 0,
        draw: Rc::new(draw),
    }
}

/// Replays a run of APER.
pub(super) async fn aper(judge: &mut Judge<'_>, case: &RivalCase, vit: &Vit) -> Result<()> {
    let head = SimpleCil::new(vit.device(), 2 * vit.architecture.sizes.dim)?;
    run(judge, case, vit, Aper::new(tuning(judge.golden, case), true, head)).await
}

/// Replays a run of EASE.
pub(super) async fn ease(judge: &mut Judge<'_>, case: &RivalCase, vit: &Vit) -> Result<()> {
    let tuning = tuning(judge.golden, case);
    let pupil = Ease::new(vit.device(), tuning, case.alpha, vit.architecture.sizes.dim)?;
    run(judge, case, vit, pupil).await
}

/// Learns all tasks, and compares what is recorded.
async fn run<P: Recorded>(judge: &mut Judge<'_>, case: &RivalCase, vit: &Vit, pupil: P) -> Result<()> {
    let (golden, device) = (judge.golden, vit.device());
    let mut learner = Trained::new(vit.clone(), pupil, BATCH, false, false)?;
    let mut first_class = 0;
    for (t, classes) in case.task_classes.iter().enumerate() {
        let new = first_class..first_class + classes;
        first_class = new.end;
        let (samples, idx) = golden.samples(case.image(), "train", new.clone())?;
        let trains = learner.epochs(t) > 0;
        let schedule = if trains { golden.schedule(t, &idx)? } else { Vec::new() };
        let (at, mut shown) = (format!("task{t}."), Shown::new(device));
        let task = Task { index: t, samples, first_class: new.start, classes: new.end, schedule };
        learner.learn(task, &mut shown).await?;
        if trains {
            judge.compare("loss", &format!("{at}run.loss"), &shown.losses, 1e-4)?;
        }
        for (path, gradient) in &shown.gradients {
            part(judge, "first gradients", &format!("{at}first_grad.{path}"), gradient).await?;
        }
        for (path, learned) in &shown.learned {
            part(judge, "parameters", &format!("{at}param.{path}"), learned).await?;
        }
        learner.pupil().judged(judge, &at, new.clone())?;

        let images = test_images(golden, case, device, new.end)?;
        let scores: Vec<f64> = device.read(&learner.logits(&images, 0)?).await?;
        judge.compare("scores", &format!("{at}test.scores"), &scores, 1e-3)?;
        predictions(judge, &at, &scores, new.end, false)?;
    }
    Ok(())
}

/// Compares a trained tensor, or its gradient. What vanishes as long as adapters are the identity must vanish here.
async fn part(judge: &mut Judge<'_>, group: &str, name: &str, got: &Tensor) -> Result<()> {
    let got: Vec<f64> = judge.device.read(got).await?;
    let vanishes = judge.golden.tensors.get(name)?.iter().all(|&x| x == 0.0);
    judge.compare(group, name, &got, if vanishes { 1e-6 } else { 1e-3 })
}
