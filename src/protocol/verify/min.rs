//! Replays of runs of MiN, by the paper and by the official code.

use super::{Check, Judge};
use crate::config::Profile;
use crate::device::{Device, Tensor};
use crate::method::{Core, Gradients, Learner, Min, Observer, Phase, Point, Procedure, Task};
use crate::model::noise::{MixtureSource, NoiseLayers, Stream, normals};
use crate::model::vit::transpose;
use crate::protocol::golden::{Golden, RunCase};
use crate::{Error, Result};

/// A result that is still on the device.
pub(super) enum Shown {
    StepOne(Tensor),
    /// Gradients of the auxiliary classifier and, by layer, of the parameters and the mixture.
    Gradients(Tensor, Vec<(Tensor, Option<Tensor>)>),
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
    /// The newest module's parameters (or their gradients): every phi tensor that the file records below `prefix`.
    fn module(&mut self, group: &str, prefix: &str, noise: &NoiseLayers, row: &[f64]) -> Result<()> {
        for part in noise.layout.names() {
            self.compare(group, &self.golden.part(prefix, &part), &noise.layout.unpack(&part, row)?, 1e-3)?;
        }
        Ok(())
    }

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

pub(super) async fn replay<P: Procedure + Clone>(
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
