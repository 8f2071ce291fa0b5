//! Replays golden files and compares every recorded result (SPEC section 8, RIVALS section 13).

mod adapters;
mod prompts;
mod rival;
mod slca;
mod vit;

use std::path::Path;

use serde::Serialize;

use crate::config::Profile;
use crate::device::{Device, Tensor};
use crate::method::{Core, Gradients, Learner, Min, Observer, Phase, Point, Procedure, Task};
use crate::model::head::{self, Statistics};
use crate::model::noise::{MixtureSource, NoiseLayers, Stream, normals};
use crate::model::vit::transpose;
use crate::protocol::golden::{Case, Golden, RidgeCase, RunCase};
use crate::{Error, Result, host};

/// Largest error of a group of tensors, relative to the largest entry of each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What the tensors are, such as `features` or `W`.
    pub group: String,
    /// How many were compared.
    pub tensors: usize,
    /// The error of the worst tensor; of predictions, how many differ.
    pub error: f64,
    /// The largest error that passes.
    pub tolerance: f64,
    /// The tensor with the largest ratio of error to tolerance.
    pub worst: String,
    /// Whether every tensor was within its tolerance.
    pub passed: bool,
}

/// What became of one golden file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What was compared, group by group.
    Checked(Vec<Check>),
    /// Why the file was not replayed.
    NotRun(String),
}

/// The replay of one file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replay {
    /// The file's name, without its folder.
    pub file: String,
    /// Backend, adapter and driver.
    pub device: String,
    /// Seconds that it took, reading included.
    pub seconds: f64,
    /// What came of it.
    pub outcome: Outcome,
}

impl Replay {
    /// No tolerance was exceeded.
    pub fn passed(&self) -> bool {
        match &self.outcome {
            Outcome::Checked(checks) => checks.iter().all(|c| c.passed),
            Outcome::NotRun(_) => true,
        }
    }
}

/// Replays `path` on `device`. With `oracle` the device computes in f64 and must meet 1e-8 (1e-6 for tensors that the
/// file stores in f32).
///
/// # Errors
/// [`Error::Io`]; [`Error::Golden`] where the file is damaged or cannot be replayed; device errors.
pub async fn verify(path: &Path, device: &Device, oracle: bool) -> Result<Replay> {
    replayed(path, device, oracle).await.map_err(|e| match e {
        // These say nothing of the file.
        Error::Io { .. }
        | Error::Shader { .. }
        | Error::DeviceLost { .. }
        | Error::OutOfMemory { .. }
        | Error::Validation { .. } => e,
        Error::Weights { file, message } => Error::Golden { file, message },
        e => Error::Golden { file: path.display().to_string(), message: e.to_string() },
    })
}

async fn replayed(path: &Path, device: &Device, oracle: bool) -> Result<Replay> {
    let start = host::Instant::now();
    let golden = Golden::read(path)?;
    let outcome = match &golden.case {
        Case::Vit(case) => match golden.backbone(case)? {
            Some((weights, told)) => Outcome::Checked(vit::features(&golden, &weights, &told, device, oracle).await?),
            None => {
                Outcome::NotRun(format!("there is no {} above its folder", case.weights.as_deref().unwrap_or_default()))
            }
        },
        Case::Rival(case) => rival::replay(&golden, case, device, oracle).await?,
        Case::Ridge(case) => Outcome::Checked(ridge(&golden, case, device, oracle).await?),
        Case::Run(case) => {
            let core = golden.core(case, device)?;
            let checks = match case.profile {
                Profile::Paper => replay(&golden, case, golden.paper(case, core)?, oracle).await?,
                Profile::Official => replay(&golden, case, golden.official(case, core)?, oracle).await?,
                Profile::Robust => return Err(golden.tensors.error("no file records a run of profile `robust`")),
            };
            Outcome::Checked(checks)
        }
    };
    Ok(Replay { file: golden.name, device: device.name().into(), seconds: start.elapsed().as_secs_f64(), outcome })
}

/// Collects errors by group.
struct Judge<'a> {
    device: Device,
    golden: &'a Golden,
    oracle: bool,
    /// What is compared was made from something that the oracle rounded to single precision.
    rounded: bool,
    checks: Vec<Check>,
    /// What the method showed of its work and is not yet judged.
    shown: Vec<Shown>,
    task: usize,
}

/// A result that is still on the device.
enum Shown {
    StepOne(Tensor),
    /// Gradients of the auxiliary classifier and, by layer, of the parameters and the mixture.
    Gradients(Tensor, Vec<(Tensor, Option<Tensor>)>),
}

impl<'a> Judge<'a> {
    fn new(device: &Device, golden: &'a Golden, oracle: bool) -> Self {
        let (checks, shown) = (Vec::new(), Vec::new());
        Self { device: device.clone(), golden, oracle, rounded: false, checks, shown, task: 0 }
    }
}

impl Judge<'_> {
    fn record(&mut self, group: &str, name: &str, error: f64, tolerance: f64) {
        let new = Check { group: group.into(), tensors: 0, error, tolerance, worst: name.into(), passed: true };
        let at = self.checks.iter().position(|c| c.group == group).unwrap_or_else(|| {
            self.checks.push(new.clone());
            self.checks.len() - 1
        });
        let check = &mut self.checks[at];
        check.tensors += 1;
        check.passed &= error <= tolerance;
        let worse = error * check.tolerance > check.error * tolerance || (tolerance == 0.0 && error > check.error);
        if worse {
            (check.error, check.tolerance, check.worst) = (error, tolerance, name.into());
        }
    }

    /// Compares `got` with the recorded tensor `name`.
    fn compare(&mut self, group: &str, name: &str, got: &[f64], single: f64) -> Result<()> {
        self.compare_with(group, name, self.golden.tensors.get(name)?, got, single)
    }

    /// Compares `got` with `want`, a part of the recorded tensor `name`.
    fn compare_with(&mut self, group: &str, name: &str, want: &[f64], got: &[f64], single: f64) -> Result<()> {
        if want.len() != got.len() {
            return Err(self.golden.tensors.error(format!(
                "`{name}` has {} entries, the replay {}",
                want.len(),
                got.len()
            )));
        }
        let scale = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let worst = got.iter().zip(want).map(|(g, w)| (g - w).abs());
        // NaN must not vanish in a maximum.
        let worst = worst.fold(0.0, |m: f64, e| if e.is_nan() || m.is_nan() { f64::NAN } else { m.max(e) });
        let error = if scale > 0.0 { worst / scale } else { worst };
        let tolerance = match (self.oracle, self.rounded || self.golden.tensors.is_narrow(name)) {
            (false, _) => single,
            (true, true) => 1e-6,
            (true, false) => 1e-8,
        };
        self.record(group, name, if error.is_nan() { f64::INFINITY } else { error }, tolerance);
        Ok(())
    }

    /// Compares a device matrix [C, m] with a recorded one [m, C].
    async fn transposed(&mut self, group: &str, name: &str, got: &Tensor, single: f64) -> Result<()> {
        let data: Vec<f64> = self.device.read(got).await?;
        self.compare(group, name, &transpose(&data, got.rows(), got.cols()), single)
    }

    /// Counts predictions that differ from those of the recorded logits `name` [n, classes] where these have a margin.
    fn predictions(&mut self, name: &str, logits: &[f64], classes: usize) -> Result<()> {
        let want = self.golden.tensors.get(name)?;
        let rows = want.chunks(classes).zip(logits.chunks(classes));
        let wrong = rows.filter(|(want, got)| {
            let (best, margin) = top(want);
            margin > 1e-3 && top(got).0 != best
        });
        let wrong = wrong.count();
        self.record("predictions that differ", name, wrong as f64, 0.0);
        Ok(())
    }

    /// The newest module's parameters (or their gradients): every phi tensor that the file records below `prefix`.
    fn module(&mut self, group: &str, prefix: &str, noise: &NoiseLayers, row: &[f64]) -> Result<()> {
        for part in noise.layout.names() {
            self.compare(group, &self.golden.part(prefix, &part), &noise.layout.unpack(&part, row)?, 1e-3)?;
        }
        Ok(())
    }
}

impl Observer for Judge<'_> {
    fn begin(&mut self, _: Phase, _: &str, _: usize) {}
    fn advance(&mut self, _: usize) {}
    fn end(&mut self, _: Phase, _: Option<f64>) {}

    fn inspect(&mut self, point: Point<'_>) -> Result<()> {
        let t = self.task;
        let name = |what: &str| format!("task{t}.{what}");
        match point {
            Point::StepOne(w) => {
                self.shown.push(Shown::StepOne(w.clone()));
                Ok(())
            }
            Point::Similarity(s) => self.compare("similarity", &name("similarity"), s, 1e-4),
            Point::PrototypeBefore(p) if self.golden.tensors.has(&name("prototype_before")) => {
                self.compare("prototype", &name("prototype_before"), p, 1e-4)
            }
            Point::PrototypeBefore(_) => Ok(()),
            Point::Losses(losses) => self.compare("loss", &name("run.loss"), losses, 1e-4),
            Point::FirstGradients { core, gradients, aux } => {
                if self.golden.tensors.has(&name("first_grad.W_aux")) {
                    self.gradients(core, gradients, aux)?;
                }
                Ok(())
            }
            // Of rivals.
            _ => Ok(()),
        }
    }
}

impl Judge<'_> {
    /// Keeps the gradients of the first training step.
    fn gradients(&mut self, core: &Core, gradients: &Gradients, aux: &Tensor) -> Result<()> {
        let missing = || self.golden.tensors.error("the replay has no gradient of a trained tensor");
        let of = |t: &Tensor| gradients.of(t).cloned().ok_or_else(missing);
        let mut layers = Vec::new();
        for layer in &core.network.noise.layers {
            let logits = match &layer.mixture {
                Some(MixtureSource::Logits(a)) => Some(of(a)?),
                _ => None,
            };
            layers.push((of(&layer.phi)?, logits));
        }
        let aux = of(aux)?;
        self.shown.push(Shown::Gradients(aux, layers));
        Ok(())
    }

    /// Judges what was shown since the last time.
    async fn shown(&mut self, noise: &NoiseLayers) -> Result<()> {
        let t = self.task;
        for shown in std::mem::take(&mut self.shown) {
            match shown {
                Shown::StepOne(w) => self.transposed("W, step 1", &format!("task{t}.step1.W"), &w, 1e-3).await?,
                Shown::Gradients(aux, layers) => {
                    let (group, prefix) = ("first gradients", format!("task{t}.first_grad"));
                    self.transposed(group, &format!("{prefix}.W_aux"), &aux, 1e-3).await?;
                    let mut mixture: Vec<f64> = Vec::new();
                    for (j, (phi, logits)) in layers.iter().enumerate() {
                        let row: Vec<f64> = self.device.read(phi).await?;
                        self.module(group, &format!("{prefix}.noise.{j}"), noise, &row)?;
                        if let Some(logits) = logits {
                            mixture.extend(self.device.read::<f64>(logits).await?);
                        }
                    }
                    self.compare(group, &format!("{prefix}.omega"), &mixture, 1e-3)?;
                }
            }
        }
        Ok(())
    }

    /// What stands after task t: parameters, mixture, prototype, W.
    async fn state(&mut self, core: &Core, case: &RunCase) -> Result<()> {
        let (t, device, noise) = (self.task, core.device(), &core.network.noise);
        let name = |what: &str| format!("task{t}.{what}");
        let official = case.profile == Profile::Official;
        let mut omegas = Vec::new();
        for (j, layer) in noise.layers.iter().enumerate() {
            omegas.extend(noise.omega(j).await?);
            let phi: Vec<f64> = device.read(&layer.phi).await?;
            let row = &phi[(noise.modules - 1) * noise.layout.len()..];
            self.module("noise parameters", &name(&format!("noise.{j}")), noise, row)?;
            if let Some(branch) = layer.branch.as_ref().filter(|_| t == 0) {
                let m: Vec<f64> = device.read(&branch.weight).await?;
                let m = transpose(&m, noise.width, noise.width);
                self.compare("branch and norms", &name(&format!("noise.{j}.M.weight")), &m, 1e-3)?;
                let c: Vec<f64> = device.read(&branch.bias).await?;
                self.compare("branch and norms", &name(&format!("noise.{j}.M.bias")), &c, 1e-3)?;
            }
        }
        if official && t == 0 {
            for (norm, tensor) in core.network.vit.norm_parameters(0) {
                let got: Vec<f64> = device.read(tensor).await?;
                self.compare("branch and norms", &name(&norm), &got, 1e-3)?;
            }
        }
        if official {
            let one = &omegas[..noise.modules];
            self.compare("mixture weights", &name("weight_noise"), one, 1e-3)?;
        } else {
            self.compare("mixture weights", &name("omega"), &omegas, 1e-3)?;
        }
        let prototype = if official { "prototype_after" } else { "prototype" };
        self.compare("prototype", &name(prototype), &core.prototypes[t], 1e-4)?;
        self.transposed("W", &name("W"), &core.weights, 1e-3).await
    }

    /// Features, logits and predictions on the test images of all classes seen.
    async fn judged(&mut self, core: &Core, case: &RunCase, seen: usize) -> Result<()> {
        let (test, _) = self.golden.samples(case.image(), "test", 0..seen)?;
        let device = core.device();
        let pixels = test.stream(test.batches(0..test.len(), test.len(), None))?.next();
        let pixels = pixels.ok_or_else(|| Error::Unsupported("no test image".into()))??;
        let images = test.upload(device, &pixels, 0..test.len())?;
        let scores = core.scores(&images, 0)?;
        let features: Vec<f64> = device.read(&scores.features).await?;
        let logits: Vec<f64> = device.read(&scores.logits).await?;
        let name = format!("task{}.test.logits", self.task);
        self.compare("features", &format!("task{}.test.features", self.task), &features, 1e-4)?;
        self.compare("logits", &name, &logits, 1e-3)?;
        self.predictions(&name, &logits, seen)
    }

    /// The recorded normals of one layer, task and step.
    async fn normals(&mut self, case: &RunCase, device: &Device, noise: &NoiseLayers) -> Result<()> {
        let name = "eps.layer1.task0.step0";
        if !self.golden.tensors.has(name) {
            return Ok(());
        }
        let rows = self.golden.tensors.get(name)?.len() / noise.layout.d2;
        let layout = noise.layout;
        let stream = Stream { seed: case.seed, layer: 1, task: 0, step: 0, first_row: 0 };
        let eps = normals(device, layout, rows, stream)?;
        let got: Vec<f64> = device.read(&eps).await?;
        let got: Vec<f64> = got.chunks(layout.e).flat_map(|row| &row[..layout.d2]).copied().collect();
        self.compare("normals", name, &got, 1e-5)
    }
}

/// Index of the largest entry, and its lead over the next.
fn top(row: &[f64]) -> (usize, f64) {
    let best = (0..row.len()).max_by(|&i, &j| row[i].total_cmp(&row[j]).then(j.cmp(&i))).unwrap_or(0);
    let second = (0..row.len()).filter(|&i| i != best).map(|i| row[i]).fold(f64::NEG_INFINITY, f64::max);
    (best, row[best] - second)
}

async fn replay<P: Procedure + Clone>(
    golden: &Golden,
    case: &RunCase,
    mut method: Min<P>,
    oracle: bool,
) -> Result<Vec<Check>> {
    let device = method.core().device().clone();
    let mut judge = Judge::new(&device, golden, oracle);
    judge.normals(case, method.core().device(), &method.core().network.noise).await?;
    let mut seen = 0;
    for (t, classes) in case.task_classes.iter().enumerate() {
        judge.task = t;
        let (samples, idx) = golden.samples(case.image(), "train", seen..seen + classes)?;
        let schedule = golden.schedule(t, &idx)?;
        seen += classes;
        method
            .learn(Task { index: t, samples, first_class: seen - classes, classes: seen, schedule }, &mut judge)
            .await?;
        judge.shown(&method.core().network.noise).await?;
        judge.state(method.core(), case).await?;
        judge.judged(method.core(), case, seen).await?;
    }
    Ok(judge.checks)
}

/// Rows of `p` that a ridge replay adds at once: a prime, so that the last batch is a part.
const RIDGE_BATCH: usize = 97;

/// Gathers the recorded features in batches, solves, and judges W and the logits of the test features.
async fn ridge(golden: &Golden, case: &RidgeCase, device: &Device, oracle: bool) -> Result<Vec<Check>> {
    let mut judge = Judge::new(device, golden, oracle);
    let tensors = &golden.tensors;
    let [m, classes] = tensors.matrix("W")?;
    let labels: Vec<u32> = tensors.get("y")?.iter().map(|&y| y as u32).collect();
    let mut statistics = Statistics::new(device, m)?;
    statistics.widen(classes)?;
    for (p, y) in tensors.get("p")?.chunks(RIDGE_BATCH * m).zip(labels.chunks(RIDGE_BATCH)) {
        statistics.add(device, &device.upload(p, &[y.len(), m])?, y).await?;
    }
    let w = statistics.solve(device, case.gamma, &mut |_| ()).await?.weights;
    let p = device.upload(tensors.get("test.p")?, tensors.shape("test.p")?)?;
    let logits: Vec<f64> = device.read(&head::logits(device, &p, &w)?).await?;
    let (of_w, of_logits) = if case.condition < 1e6 { (1e-4, 5e-5) } else { (1e-3, 1e-3) };
    judge.transposed("W", "W", &w, of_w).await?;
    judge.compare("logits", "test.logits", &logits, of_logits)?;
    judge.predictions("test.logits", &logits, classes)?;
    Ok(judge.checks)
}
