//! Optimizers over tensors on the device; state starts at zero.

use std::collections::HashMap;
use std::f64::consts::PI;

use crate::Result;
use crate::autograd::Gradients;
use crate::device::{Device, Tensor};
use crate::kernels::adamw::AdamW;
use crate::kernels::clip_factor::ClipFactor;
use crate::kernels::sgd::Sgd;
use crate::kernels::square_sum::{SquareSum, partials};
use crate::model::state::{overwrite, put};
use crate::store::Tree;

/// Update rule and its constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// `g += wd p; v = momentum v + g; p -= lr v` (PyTorch's SGD).
    Sgd { lr: f64, momentum: f64, weight_decay: f64 },
    /// `m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= lr (m / (1 - b1^n)) / (sqrt(v / (1 - b2^n)) + eps)`, betas
    /// `[b1, b2]`, n the number of the step (PyTorch's Adam). Where g = 0, p still moves as long as m is not 0.
    Adam { lr: f64, betas: [f64; 2], eps: f64 },
    /// The same with decoupled weight decay, betas 0.9 and 0.999, eps = 1e-8 (PyTorch's AdamW).
    AdamW { lr: f64, weight_decay: f64 },
}

/// What learning rates are multiplied by in the epochs of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// 1.
    Constant,
    /// `decay^k`, k the number of milestones e' <= e.
    Steps { milestones: Vec<usize>, decay: f64 },
    /// `(1 + cos(pi e / E)) / 2`.
    HalfCosine,
    /// `cos(99 pi max(e - 1, 0) / (200 (E - 1)))`: that of CODA-Prompt's code, which starts one epoch late.
    Coda,
}

impl Schedule {
    /// The factor in epoch e of E, counted from 0.
    pub fn factor(&self, epoch: usize, epochs: usize) -> f64 {
        debug_assert!(epoch < epochs, "epochs count from 0");
        match self {
            Self::Constant => 1.0,
            Self::Steps { milestones, decay } => decay.powi(milestones.iter().filter(|m| **m <= epoch).count() as i32),
            Self::HalfCosine => 0.5 * (1.0 + (PI * epoch as f64 / epochs as f64).cos()),
            Self::Coda => {
                // One epoch alone has the full rate.
                let (late, last) = (epoch.saturating_sub(1), (epochs - 1).max(1));
                (99.0 * PI * late as f64 / (200.0 * last as f64)).cos()
            }
        }
    }
}

/// A part of a tensor that is learned: `len` elements from `offset`.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// What it is called in a state.
    pub path: String,
    pub tensor: Tensor,
    pub offset: usize,
    pub len: usize,
    /// What its learning rate is multiplied by.
    pub rate: f64,
}

impl Parameter {
    /// All of a tensor, at the full rate.
    pub fn whole(path: &str, tensor: &Tensor) -> Self {
        Self::part(path, tensor, 0, tensor.len())
    }

    /// `len` elements of a tensor, from `offset`, at the full rate. Their gradient is that of these alone.
    pub fn part(path: &str, tensor: &Tensor, offset: usize, len: usize) -> Self {
        Self { path: path.into(), tensor: tensor.clone(), offset, len, rate: 1.0 }
    }
}

/// One optimizer run: the parameters, their state and the step count.
#[derive(Debug)]
pub struct Optimizer {
    device: Device,
    rule: Rule,
    parameters: Vec<Parameter>,
    state: HashMap<usize, Vec<Tensor>>,
    step: u32,
    clip: Option<Clip>,
}

/// Clipping by the norm of all gradients together.
#[derive(Debug)]
struct Clip {
    /// The largest norm that is left as it is.
    most: f64,
    /// Parts of the squared norm.
    partials: Tensor,
    /// Factor of the gradients, and their norm before it.
    factor: Tensor,
}

impl Optimizer {
    /// # Errors
    /// Allocation failures.
    pub fn new(device: &Device, rule: Rule, parameters: Vec<Parameter>) -> Result<Self> {
        let slots = if matches!(rule, Rule::Sgd { .. }) { 1 } else { 2 };
        let mut state = HashMap::new();
        for p in &parameters {
            let zeros = (0..slots).map(|_| device.zeros(&[p.len])).collect::<Result<_>>()?;
            state.insert(p.tensor.id(), zeros);
        }
        Ok(Self { device: device.clone(), rule, parameters, state, step: 0, clip: None })
    }

    /// Clips from now on: `g *= min(1, most / (|g| + 1e-6))`, |g| the norm of all gradients together.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn clipped(self, most: f64) -> Result<Self> {
        let n = self.parameters.iter().map(|p| partials(p.len)).sum();
        let clip = Clip { most, partials: self.device.reals(&[n])?, factor: self.device.zeros(&[2])? };
        Ok(Self { clip: Some(clip), ..self })
    }

    /// Slots by the paths of their parameters, and the number of steps.
    ///
    /// # Errors
    /// Device errors.
    pub async fn state(&self) -> Result<Tree> {
        let mut tree = Tree::new();
        tree.set("step", &self.step)?;
        for p in &self.parameters {
            for (i, slot) in self.state[&p.tensor.id()].iter().enumerate() {
                put(&mut tree, &format!("{}/{i}", p.path), &self.device, slot).await?;
            }
        }
        Ok(tree)
    }

    /// What [`Optimizer::state`] gave.
    ///
    /// # Errors
    /// [`crate::Error::Store`] where it is that of other parameters or of another rule.
    pub fn restore(&mut self, mut tree: Tree) -> Result<()> {
        self.step = tree.get("step")?;
        for p in &self.parameters {
            for (i, slot) in self.state[&p.tensor.id()].iter().enumerate() {
                overwrite(&mut tree, &format!("{}/{i}", p.path), &self.device, slot)?;
            }
        }
        tree.finish()
    }

    /// The tensors to track.
    pub fn tracked(&self) -> impl Iterator<Item = &Tensor> {
        self.parameters.iter().map(|p| &p.tensor)
    }

    /// |g| before clipping in the last step, where gradients are clipped.
    ///
    /// # Errors
    /// Device errors.
    pub async fn norm(&self) -> Result<Option<f64>> {
        let Some(clip) = &self.clip else { return Ok(None) };
        Ok(Some(self.device.read::<f64>(&clip.factor).await?[1]))
    }

    /// Copies that norm to `norms[slot]`, where gradients are clipped.
    ///
    /// # Errors
    /// Device errors.
    pub fn keep_norm(&self, norms: &Tensor, slot: usize) -> Result<()> {
        match &self.clip {
            Some(clip) => self.device.copy(&clip.factor, 1, norms, slot, 1),
            None => Ok(()),
        }
    }

    /// One update of every parameter that has a gradient, with `factor` times the learning rate.
    ///
    /// # Errors
    /// Device errors.
    pub fn step(&mut self, gradients: &Gradients, factor: f64) -> Result<()> {
        self.step += 1;
        let clip = self.clip.as_ref().map(|clip| self.measure(clip, gradients)).transpose()?;
        for p in &self.parameters {
            let Some(grad) = gradients.of(&p.tensor) else { continue };
            let (state, rate) = (&self.state[&p.tensor.id()], factor * p.rate);
            let adam = |lr: f64, [beta1, beta2]: [f64; 2], eps: f64, weight_decay: f64| {
                self.device.run(&AdamW {
                    param: &p.tensor,
                    offset: p.offset,
                    grad,
                    clip,
                    m: &state[0],
                    v: &state[1],
                    lr: rate * lr,
                    beta1,
                    beta2,
                    eps,
                    weight_decay,
                    step: self.step,
                })
            };
            match self.rule {
                Rule::Sgd { lr, momentum, weight_decay } => self.device.run(&Sgd {
                    param: &p.tensor,
                    offset: p.offset,
                    grad,
                    clip,
                    velocity: &state[0],
                    lr: rate * lr,
                    momentum,
                    weight_decay,
                })?,
                Rule::Adam { lr, betas, eps } => adam(lr, betas, eps, 0.0)?,
                Rule::AdamW { lr, weight_decay } => adam(lr, [0.9, 0.999], 1e-8, weight_decay)?,
            }
        }
        Ok(())
    }

    /// The factor of the gradients, from the squares of all of them.
    fn measure<'a>(&self, clip: &'a Clip, gradients: &Gradients) -> Result<&'a Tensor> {
        let mut n = 0;
        for grad in self.parameters.iter().filter_map(|p| gradients.of(&p.tensor)) {
            self.device.run(&SquareSum { x: grad, partials: &clip.partials, slot: n })?;
            n += partials(grad.len());
        }
        self.device.run(&ClipFactor { partials: &clip.partials, n, most: clip.most, clip: &clip.factor })?;
        Ok(&clip.factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Factors at these epochs of E against numbers from a table.
    fn meets(schedule: &Schedule, epochs: usize, numbers: &[(usize, f64)]) {
        for &(epoch, number) in numbers {
            let factor = schedule.factor(epoch, epochs);
            assert!((factor - number).abs() < 1e-14, "{schedule:?}, epoch {epoch} of {epochs}: {factor}, not {number}");
        }
    }

    #[test]
    fn constant_rates_stay() {
        meets(&Schedule::Constant, 5, &[(0, 1.0), (4, 1.0)]);
    }

    #[test]
    fn milestones_count_from_their_epoch_on() {
        let slca = Schedule::Steps { milestones: vec![18], decay: 0.1 };
        meets(&slca, 20, &[(0, 1.0), (17, 1.0), (18, 0.1), (19, 0.1)]);
        let two = Schedule::Steps { milestones: vec![2, 4], decay: 0.5 };
        meets(&two, 6, &[(1, 1.0), (2, 0.5), (3, 0.5), (4, 0.25), (5, 0.25)]);
    }

    #[test]
    fn half_cosines_end_above_zero() {
        // (1 + cos) / 2 of 0, 45, 90, 135 degrees, and of 0, 60, 120.
        let diagonal = 0.853_553_390_593_273_8;
        meets(&Schedule::HalfCosine, 4, &[(0, 1.0), (1, diagonal), (2, 0.5), (3, 1.0 - diagonal)]);
        meets(&Schedule::HalfCosine, 3, &[(0, 1.0), (1, 0.75), (2, 0.25)]);
    }

    #[test]
    fn the_cosine_of_coda_starts_late_and_stays_above_zero() {
        // E = 34: 2.7 degrees an epoch, from epoch 1 on.
        let cosines = [(11, 0.891_006_524_188_367_9), (21, 0.587_785_252_292_473_1), (33, 0.062_790_519_529_313_37)];
        meets(&Schedule::Coda, 34, &[(0, 1.0), (1, 1.0)]);
        meets(&Schedule::Coda, 34, &cosines);
        meets(&Schedule::Coda, 1, &[(0, 1.0)]);
    }
}
