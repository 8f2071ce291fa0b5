//! Replays of runs of methods that learn prompts.

use super::Judge;
use super::rival::{BATCH, predictions, test_images};
use crate::config;
use crate::device::{Device, Tensor};
use crate::method::{Coda, Course, Draw, DualPrompt, L2p, Learner, Observer, Part, Phase, Point, Pupil, Task, Trained};
use crate::model::optimizer::Rule;
use crate::model::vit::Vit;
use crate::protocol::golden::{Golden, RivalCase};
use crate::{Error, Result};

/// What the training of a task showed.
pub(super) struct Shown {
    device: Device,
    /// By path: values at the start, and gradients of the first step.
    pub start: Vec<(String, Tensor)>,
    pub gradients: Vec<(String, Tensor)>,
    /// And values at the end.
    pub learned: Vec<(String, Tensor)>,
    pub chosen: Vec<Tensor>,
    pub losses: Vec<f64>,
    pub norms: Vec<f64>,
}

impl Shown {
    pub fn new(device: &Device) -> Self {
        let [start, gradients, learned] = [(); 3].map(|()| Vec::new());
        let (chosen, losses, norms) = (Vec::new(), Vec::new(), Vec::new());
        Self { device: device.clone(), start, gradients, learned, chosen, losses, norms }
    }
}

impl Observer for Shown {
    fn begin(&mut self, _: Phase, _: &str, _: usize) {}
    fn advance(&mut self, _: usize) {}
    fn end(&mut self, _: Phase, _: Option<f64>) {}

    fn inspect(&mut self, point: Point<'_>) -> Result<()> {
        match point {
            Point::Begun(parameters) => {
                for p in parameters {
                    // They are trained where they are.
                    let copy = self.device.reals(p.tensor.shape())?;
                    self.device.copy(&p.tensor, 0, &copy, 0, p.len)?;
                    self.start.push((p.path.clone(), copy));
                }
            }
            Point::FirstDescent { parameters, gradients } => {
                let missing = |path: &str| Error::Unsupported(format!("the replay has no gradient of {path}"));
                for p in parameters {
                    let gradient = gradients.of(&p.tensor).ok_or_else(|| missing(&p.path))?;
                    self.gradients.push((p.path.clone(), gradient.clone()));
                }
            }
            Point::Learned(parameters) => {
                self.learned = parameters.iter().map(|p| (p.path.clone(), p.tensor.clone())).collect();
            }
            Point::Chosen(chosen) => self.chosen.push(chosen.clone()),
            Point::Losses(losses) => self.losses = losses.to_vec(),
            Point::GradientNorms(norms) => self.norms = norms.to_vec(),
            _ => {}
        }
        Ok(())
    }
}

/// A method of which a file records what it learned.
trait Recorded: Pupil {
    /// Entries of a part are recorded behind those of earlier tasks, which had as many.
    fn follows(_path: &str) -> bool {
        false
    }

    /// What images chose, where it is recorded, [n, k, pool].
    fn selection(&self, _vit: &Vit, _images: &Tensor) -> Result<Option<Tensor>> {
        Ok(None)
    }
}

impl Recorded for L2p {
    fn selection(&self, vit: &Vit, images: &Tensor) -> Result<Option<Tensor>> {
        self.chosen(vit, images).map(Some)
    }
}

impl Recorded for DualPrompt {
    fn selection(&self, vit: &Vit, images: &Tensor) -> Result<Option<Tensor>> {
        self.chosen(vit, images).map(Some)
    }
}

impl Recorded for Coda {
    fn follows(path: &str) -> bool {
        path.starts_with("coda.")
    }
}

/// A recorded tensor entry by entry, as it is learned.
fn by_entry(case: &RivalCase, path: &str, recorded: &[f64]) -> Vec<f64> {
    if path != Part::Expert.path() {
        return recorded.to_vec();
    }
    // Recorded as [blocks, 2, pool, ..].
    let groups = 2 * case.e_layers.len();
    let n = recorded.len() / (groups * case.pool).max(1);
    let part = |entry: usize, group: usize| recorded[(group * case.pool + entry) * n..][..n].to_vec();
    (0..case.pool).flat_map(|entry| (0..groups).flat_map(move |group| part(entry, group))).collect()
}

/// First values as recorded.
fn draw(golden: &Golden, case: &RivalCase) -> Draw {
    let (tensors, case) = (golden.tensors.clone(), case.clone());
    Draw::new(move |part, entry, n| {
        let path = part.path();
        let (name, at) = match part {
            Part::Component(_) | Part::ComponentKey(_) | Part::Attention(_) => {
                let share = case.pool / case.task_classes.len();
                (format!("init.task{}.{path}", entry / share), entry % share)
            }
            _ => (format!("init.{path}"), entry),
        };
        let all = by_entry(&case, &path, tensors.get(&name)?);
        let found = all.get(at * n..(at + 1) * n).map(<[f64]>::to_vec);
        found.ok_or_else(|| tensors.error(format!("`{name}` has no entry {at} of {n} numbers")))
    })
}

fn course(case: &RivalCase) -> Course {
    let rule = Rule::Adam { lr: case.lr, betas: case.betas, eps: case.adam_eps };
    Course { rule, epochs: [case.epochs; 2] }
}

/// Replays a run of L2P.
pub(super) async fn l2p(judge: &mut Judge<'_>, case: &RivalCase, vit: &Vit) -> Result<()> {
    let &RivalCase { pool, length, top_k, pull, grad_clip: clip, .. } = case;
    let of = config::L2p { pool, length, top_k, pull, clip };
    let pupil = L2p::new(vit, of, course(case), draw(judge.golden, case))?;
    run(judge, case, vit, pupil).await
}

/// Replays a run of DualPrompt.
pub(super) async fn dualprompt(judge: &mut Judge<'_>, case: &RivalCase, vit: &Vit) -> Result<()> {
    let &RivalCase { pool, g_length, e_length, pull, grad_clip: clip, .. } = case;
    let [g_layers, e_layers] = [&case.g_layers, &case.e_layers].map(Vec::clone);
    let of = config::DualPrompt { pool, g_length, e_length, g_layers, e_layers, pull, clip };
    let pupil = DualPrompt::new(vit, of, course(case), draw(judge.golden, case))?;
    run(judge, case, vit, pupil).await
}

/// Replays a run of CODA-Prompt.
pub(super) async fn coda(judge: &mut Judge<'_>, case: &RivalCase, vit: &Vit) -> Result<()> {
    let &RivalCase { pool, length, mu, .. } = case;
    let of = config::Coda { pool, tasks: case.task_classes.len(), length, e_layers: case.e_layers.clone(), mu };
    let pupil = Coda::new(vit, of, course(case), draw(judge.golden, case))?;
    run(judge, case, vit, pupil).await
}

/// Learns all tasks, and compares what is recorded.
async fn run<P: Recorded>(judge: &mut Judge<'_>, case: &RivalCase, vit: &Vit, pupil: P) -> Result<()> {
    let (golden, device) = (judge.golden, vit.device());
    let has = |name: &str| golden.tensors.has(name);
    golden.tensors.shaped("init.head.weight", &[case.task_classes.iter().sum(), vit.architecture.sizes.dim])?;
    let mut learner = Trained::new(vit.clone(), pupil, BATCH, false, false)?;
    let mut first_class = 0;
    for (t, classes) in case.task_classes.iter().enumerate() {
        let new = first_class..first_class + classes;
        first_class = new.end;
        let (samples, idx) = golden.samples(case.image(), "train", new.clone())?;
        let schedule = golden.schedule(t, &idx)?;
        let mut shown = Shown::new(device);
        let task = Task { index: t, samples, first_class: new.start, classes: new.end, schedule };
        learner.learn(task, &mut shown).await?;
        let at = format!("task{t}.");
        judge.compare("loss", &format!("{at}run.loss"), &shown.losses, 1e-4)?;
        if has(&format!("{at}run.grad_norm")) {
            judge.compare("gradient norms", &format!("{at}run.grad_norm"), &shown.norms, 1e-3)?;
        }
        for (path, start) in shown.start.iter().filter(|(path, _)| has(&format!("{at}start.{path}"))) {
            part::<P>(judge, case, "first values", t, ("start", path), start).await?;
        }
        for (path, gradient) in &shown.gradients {
            part::<P>(judge, case, "first gradients", t, ("first_grad", path), gradient).await?;
        }
        for (path, learned) in &shown.learned {
            part::<P>(judge, case, "parameters", t, ("param", path), learned).await?;
        }
        if has(&format!("{at}run.selection")) {
            selections(judge, &format!("{at}run.selection"), &shown.chosen).await?;
        }

        let images = test_images(golden, case, device, new.end)?;
        if let Some(chosen) = learner.pupil().selection(vit, &images)? {
            selections(judge, &format!("{at}test.selection"), &[chosen]).await?;
        }
        let scores: Vec<f64> = device.read(&learner.logits(&images, 0)?).await?;
        judge.compare("scores", &format!("{at}test.scores"), &scores, 1e-3)?;
        predictions(judge, &at, &scores, new.end, false)?;
    }
    Ok(())
}

/// Compares what stands in task t for a part that is trained with its place in what is recorded of all; other entries stay as
/// they are.
async fn part<P: Recorded>(
    judge: &mut Judge<'_>,
    case: &RivalCase,
    group: &str,
    t: usize,
    (what, path): (&str, &str),
    got: &Tensor,
) -> Result<()> {
    let name = format!("task{t}.{what}.{path}");
    let got: Vec<f64> = judge.device.read(got).await?;
    let want = by_entry(case, path, judge.golden.tensors.get(&name)?);
    let first = if P::follows(path) { t * got.len() } else { 0 };
    let want = want.get(first..first + got.len()).unwrap_or_default();
    judge.compare_with(group, &name, want, &got, 1e-3)
}

/// Counts the images whose recorded choice is another one, in whatever order. No two cosines of which one was chosen and the
/// other was not are closer than 0.005 in these files.
async fn selections(judge: &mut Judge<'_>, name: &str, chosen: &[Tensor]) -> Result<()> {
    let mut got: Vec<Vec<usize>> = Vec::new();
    for hot in chosen {
        let &[_, k, pool] = hot.shape() else { unreachable!("a choice is of shape [n, k, pool]") };
        let rows: Vec<f64> = judge.device.read(hot).await?;
        let place = |row: &[f64]| row.iter().position(|&x| x == 1.0).unwrap_or(pool);
        got.extend(rows.chunks(k * pool).map(|image| sorted(image.chunks(pool).map(place).collect())));
    }
    let recorded = judge.golden.tensors.get(name)?;
    let want = recorded.chunks((recorded.len() / got.len().max(1)).max(1));
    let want: Vec<_> = want.map(|image| sorted(image.iter().map(|&entry| entry as usize).collect())).collect();
    let wrong = got.len().abs_diff(want.len()) + got.iter().zip(&want).filter(|(got, want)| got != want).count();
    judge.record("selections that differ", name, wrong as f64, 0.0);
    Ok(())
}

fn sorted(mut entries: Vec<usize>) -> Vec<usize> {
    entries.sort_unstable();
    entries
}
