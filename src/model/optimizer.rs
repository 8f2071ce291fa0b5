//! Optimizers over tensors on the device; state starts at zero.

use std::collections::HashMap;

use crate::Result;
use crate::autograd::Gradients;
use crate::device::{Device, Tensor};
use crate::kernels::adamw::AdamW;
use crate::kernels::sgd::Sgd;
use crate::model::state::{overwrite, put};
use crate::store::Tree;

/// Update rule and its constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// `g += wd p; v = momentum v + g; p -= lr v` (PyTorch's SGD).
    Sgd { lr: f64, momentum: f64, weight_decay: f64 },
    /// Decoupled weight decay, beta = (0.9, 0.999), eps = 1e-8 (PyTorch's AdamW).
    AdamW { lr: f64, weight_decay: f64 },
}

/// A part of a tensor that is learned: `len` elements from `offset`.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// What it is called in a state.
    pub path: String,
    pub tensor: Tensor,
    pub offset: usize,
    pub len: usize,
}

impl Parameter {
    /// All of a tensor.
    pub fn whole(path: &str, tensor: &Tensor) -> Self {
        Self::part(path, tensor, 0, tensor.len())
    }

    /// `len` elements of a tensor, from `offset`.
    pub fn part(path: &str, tensor: &Tensor, offset: usize, len: usize) -> Self {
        Self { path: path.into(), tensor: tensor.clone(), offset, len }
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
        Ok(Self { device: device.clone(), rule, parameters, state, step: 0 })
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

    /// One update of every parameter that has a gradient.
    ///
    /// # Errors
    /// Device errors.
    pub fn step(&mut self, gradients: &Gradients) -> Result<()> {
        self.step += 1;
        for p in &self.parameters {
            let Some(grad) = gradients.of(&p.tensor) else { continue };
            let state = &self.state[&p.tensor.id()];
            match self.rule {
                Rule::Sgd { lr, momentum, weight_decay } => self.device.run(&Sgd {
                    param: &p.tensor,
                    offset: p.offset,
                    grad,
                    velocity: &state[0],
                    lr,
                    momentum,
                    weight_decay,
                })?,
                Rule::AdamW { lr, weight_decay } => self.device.run(&AdamW {
                    param: &p.tensor,
                    offset: p.offset,
                    grad,
                    m: &state[0],
                    v: &state[1],
                    lr,
                    beta1: 0.9,
                    beta2: 0.999,
                    eps: 1e-8,
                    weight_decay,
                    step: self.step,
                })?,
            }
        }
        Ok(())
    }
}
