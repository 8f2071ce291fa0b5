//! Noise layers that see x normalised: gradients against differences and between devices.

use libtest_mimic::Trial;
use minoise::Result;
use minoise::algorithms::noise::Path;
use minoise::autograd::{Linear, Loss, NoiseOp, Tape, Var, Weights};
use minoise::device::{Device, Tensor};

use super::{CLASSES, Graph, Parameter, both};
use crate::harness::random;
use crate::noise_mix::{Problem, SAMPLE, Shape, Tensors, shape};

/// A noise layer that sees x normalised and whose mixture is added to x itself or to another residual, and a head behind it.
struct Normed {
    problem: Problem,
    tensors: Tensors,
    gamma: Tensor,
    beta: Tensor,
    head: Tensor,
    labels: Tensor,
    loss: Tensor,
    path: Path,
}

impl Normed {
    const CLASS_OF_ROW: [u32; 7] = [4, 0, 2, 1, 1, 3, 0];

    fn new(device: &Device, problem: Problem, path: Path) -> Result<Self> {
        let d1 = problem.shape.d1;
        Ok(Self {
            tensors: problem.upload(device)?,
            problem,
            gamma: device.upload(&vec![1.0f64; d1], &[d1])?,
            beta: device.zeros(&[d1])?,
            head: random(device, 41, &[d1, CLASSES])?,
            labels: device.upload_u32(&Self::CLASS_OF_ROW, &[Self::CLASS_OF_ROW.len()])?,
            loss: device.zeros(&[1])?,
            path,
        })
    }
}

impl Graph for Normed {
    /// The residual, which may be x; only then the mixture is trained as well.
    fn parameters(&self) -> Vec<Parameter> {
        let Tensors { residual, phi, omega, .. } = &self.tensors;
        let mut all = vec![("residual".into(), residual.clone(), 0)];
        if self.problem.residual.is_none() {
            let newest = (self.problem.shape.modules - 1) * self.problem.layout.len();
            all.push(("phi".into(), phi.clone(), newest));
            all.push(("mixture logits".into(), omega.clone(), 0));
        }
        all
    }

    fn loss(&self) -> &Tensor {
        &self.loss
    }

    fn forward(&self, device: &Device, tracked: &[Tensor]) -> Result<(Tape, Var)> {
        let Tensors { x, residual, proj, phi, omega } = &self.tensors;
        let mut tape = Tape::new(device, tracked);
        let [x, residual, gamma, beta, head] = [x, residual, &self.gamma, &self.beta, &self.head].map(|t| tape.var(t));
        let x = tape.layer_norm(&x, &gamma, &beta, 1e-5)?;
        let op = NoiseOp {
            residual: Some(&residual),
            proj,
            phi,
            weights: Weights::Softmax(omega),
            layout: self.problem.layout,
            modules: self.problem.shape.modules,
            noise: SAMPLE,
            path: Some(self.path),
        };
        let y = tape.noise(&x, op)?;
        let logits = tape.linear(&y, Linear::new(&head))?;
        let root = tape.cross_entropy(&logits, &self.labels, Loss::new(&self.loss, 0, self.problem.shape.rows))?;
        Ok((tape, root))
    }
}

pub(super) fn trials(devices: &[(String, Device)]) -> Vec<Trial> {
    let mut trials = Vec::new();
    let problems: [(&str, fn(Shape) -> Problem); 2] =
        [("x", Problem::new), ("another tensor, trained alone", Problem::apart)];
    for (told, problem) in problems {
        for (layers, path) in [1, 2].into_iter().flat_map(|n| [Path::Fused, Path::Unfused].map(|p| (n, p))) {
            let of = format!("normed noise layer added to {told}, {layers} layers of phi, {path:?}");
            let normed = move |device: &Device| Normed::new(device, problem(shape(7, 24, 10, 2, layers)), path);
            trials.extend(both(&of, devices, normed));
        }
    }
    trials
}
