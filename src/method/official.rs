//! MiN, profile `official` (SPEC section 6): the authors' public code, step for step.

use std::ops::Range;

use crate::Result;
use crate::device::Tensor;
use crate::method::core::cosine;
use crate::method::min::{Lesson, Op, Procedure, Prototype};
use crate::method::pass::Fit;
use crate::method::training::{Main, Training};
use crate::method::{Core, Init, Observer, Task};
use crate::model::network::plain;
use crate::model::noise::{Noise, softmax};
use crate::model::optimizer::{Parameter, Rule};

/// Passes of the analytic fit are changed at random as no epoch of training is.
const FIT_EPOCH: u32 = 1 << 16;

/// The authors' procedure. Modules of tasks 0 and 1 never move; that is what the public code does.
#[derive(Clone, Copy, Debug)]
pub struct Official {
    pub rule: Rule,
    /// Epochs of the first task, and of a later one.
    pub epochs: [usize; 2],
    /// Analytic passes over (augmented) training data.
    pub fit_epochs: usize,
}

impl Procedure for Official {
    const FOLDED: Noise = Noise::Plain;

    fn ops(&self, task: usize) -> Vec<Op> {
        let prototype = |prototype| Op::Pass { what: "prototype", fit: Fit::No, epoch: None, prototype };
        let changed: Vec<Op> = (0..self.fit_epochs)
            .map(|pass| Op::Pass {
                what: "analytic fit",
                fit: if pass == 0 { Fit::New } else { Fit::Again },
                epoch: Some(FIT_EPOCH + pass as u32),
                prototype: Prototype::Unused,
            })
            .collect();
        let mut ops = Vec::new();
        if task > 0 {
            ops.extend(&changed);
            ops.push(Op::Solve { first: true });
        }
        ops.extend([Op::Expand, Op::Fold, prototype(Prototype::New), Op::Train(Lesson::Noise), Op::Fold]);
        ops.push(prototype(Prototype::Newest));
        if task == 0 {
            ops.extend(&changed);
        }
        let fit = if self.fit_epochs == 0 { Fit::New } else { Fit::Again };
        ops.push(Op::Pass { what: "analytic refit", fit, epoch: None, prototype: Prototype::Unused });
        ops.push(Op::Solve { first: false });
        ops
    }

    /// Adds module t with the weights that the code gives it: softmax over cosine scores of the prototypes known so
    /// far (t of them) and 1 for the newest, or zeros while fewer than two prototypes are known.
    fn expand(&self, core: &mut Core, init: &mut Init, _: &mut dyn Observer) -> Result<()> {
        let t = core.network.noise.modules;
        let prototypes = &core.prototypes;
        let omega = match prototypes.as_slice() {
            [_, .., last] => {
                let mut scores: Vec<f64> = prototypes.iter().map(|p| cosine(last, p)).collect();
                scores.push(1.0);
                softmax(&scores)
            }
            _ => vec![0.0; t + 1],
        };
        core.network.noise.add_module(|layer| init(t, layer))?;
        core.network.noise.set_mixture(&omega, false)
    }

    fn epochs(&self, task: usize, lesson: Lesson) -> usize {
        if lesson == Lesson::Noise { self.epochs[task.min(1)] } else { 0 }
    }

    /// Task 0 trains the auxiliary head with bias, the linear branches and all LayerNorms; later tasks the head and the
    /// newest module.
    fn training(&self, core: &Core, _: Lesson, _: Range<usize>, scale: f64, aux: Tensor) -> Result<Training> {
        let noise = &core.network.noise;
        let mut parameters = vec![Parameter::whole("aux", &aux)];
        let first = noise.modules == 1;
        let mut aux_bias = None;
        if first {
            let bias = core.device().zeros(&[aux.rows()])?;
            parameters.push(Parameter::whole("aux.bias", &bias));
            aux_bias = Some(bias);
            parameters.extend(core.network.adaptation());
        } else {
            let (newest, row) = (noise.newest()?, noise.layout.len());
            let part = |(j, l): (usize, &crate::model::noise::Layer)| {
                Parameter::part(&format!("layers.{j}.phi"), &l.phi, newest * row, row)
            };
            parameters.extend(noise.layers.iter().enumerate().map(part));
        }
        let main = if first { Main::Absent } else { Main::Detached };
        Ok(Training {
            parameters,
            aux,
            aux_bias,
            main,
            classifier: core.scaled_weights(scale)?,
            turned: None,
            noise: plain,
            rule: self.rule,
            seed: 0,
        })
    }

    fn plan(&self, core: &mut Core, task: &Task) -> Result<()> {
        let row = core.network.noise.layout.len();
        // One module trains as task 0, more as the later tasks.
        for _ in 0..2 {
            core.network.noise.add_module(|_| Ok(vec![0.0; row]))?;
            let omega = vec![1.0; core.network.noise.modules];
            core.network.noise.set_mixture(&omega, false)?;
            let aux = core.device().zeros(&[task.classes, core.network.m()])?;
            self.training(core, Lesson::Noise, task.first_class..task.classes, 1.0, aux)?.plan(core, task)?;
        }
        Ok(())
    }
}
