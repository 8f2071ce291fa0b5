//! MiN, profile `paper` (SPEC section 5): analytic fit, noise expansion and mixture, analytic fit again.

use std::ops::Range;

use crate::config::{Mixture, Pipeline, Refit};
use crate::device::Tensor;
use crate::method::core::cosine;
use crate::method::min::{Lesson, Op, Procedure, Prototype};
use crate::method::pass::Fit;
use crate::method::training::{Main, Training};
use crate::method::{Core, Init, Observer, Point, Task};
use crate::model::network::sampled;
use crate::model::noise::{MixtureSource, Noise, softmax};
use crate::model::optimizer::{Parameter, Rule};
use crate::{Error, Result};

/// The settings of profile `paper`; every row of the ablation is one of them.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `false`: the analytic classifier on the frozen backbone.
    pub noise: bool,
    pub mixing: Mixture,
    pub pipeline: Pipeline,
    pub refit: Refit,
    pub grad_through_analytic: bool,
    pub temperature: f64,
    pub rule: Rule,
    /// Epochs of the first task, and of a later one.
    pub epochs: [usize; 2],
    pub seed: u64,
}

/// MiN in three steps a task.
#[derive(Clone, Copy, Debug)]
pub struct Paper(pub Settings);

impl Procedure for Paper {
    const FOLDED: Noise = Noise::Mean;

    fn ops(&self, _: usize) -> Vec<Op> {
        let s = &self.0;
        let pass = |what, fit, prototype| Op::Pass { what, fit, epoch: None, prototype };
        let refit = |fit, prototype| [pass("analytic refit", fit, prototype), Op::Solve { first: false }];
        if !s.noise {
            return refit(Fit::New, Prototype::Unused).to_vec();
        }
        let (again, first) = match (s.pipeline, s.refit) {
            (Pipeline::TwoStep, _) => (Fit::New, vec![pass("prototype", Fit::No, Prototype::New)]),
            (Pipeline::ThreeStep, refit) => {
                let fit = [pass("analytic fit", Fit::New, Prototype::New), Op::Solve { first: true }];
                match refit {
                    // What step 1 adds is taken out again.
                    Refit::Replace => (Fit::New, [&[Op::Keep], &fit[..], &[Op::Return]].concat()),
                    Refit::Accumulate => (Fit::Again, fit.to_vec()),
                }
            }
        };
        [&first[..], &[Op::Expand, Op::Train(Lesson::Noise), Op::Fold], &refit(again, Prototype::Newest)].concat()
    }

    fn expand(&self, core: &mut Core, init: &mut Init, observer: &mut dyn Observer) -> Result<()> {
        let missing = || Error::Unsupported("there is no prototype of this task".into());
        let newest = core.prototypes.last().ok_or_else(missing)?;
        let similarity: Vec<f64> = core.prototypes.iter().map(|p| cosine(newest, p)).collect();
        observer.inspect(Point::Similarity(&similarity))?;
        let logits: Vec<f64> = similarity.iter().map(|x| x / self.0.temperature).collect();
        let t = core.prototypes.len() - 1;
        let noise = &mut core.network.noise;
        noise.add_module(|layer| init(t, layer))?;
        match self.0.mixing {
            Mixture::Sum => noise.set_mixture(&vec![1.0; logits.len()], false),
            Mixture::Similarity => noise.set_mixture(&softmax(&logits), false),
            Mixture::Learned => noise.set_mixture(&logits, true),
        }
    }

    fn epochs(&self, task: usize, lesson: Lesson) -> usize {
        if lesson == Lesson::Noise && self.0.noise { self.0.epochs[task.min(1)] } else { 0 }
    }

    /// Module t and the mixture weights.
    fn training(&self, core: &Core, _: Lesson, _: Range<usize>, scale: f64, aux: Tensor) -> Result<Training> {
        let (s, noise) = (&self.0, &core.network.noise);
        let (newest, row) = (noise.newest()?, noise.layout.len());
        let mut parameters = vec![Parameter::whole("aux", &aux)];
        for (j, layer) in noise.adapted() {
            parameters.push(Parameter::part(&format!("layers.{j}.phi"), &layer.phi, newest * row, row));
            if let Some(MixtureSource::Logits(a)) = &layer.mixture {
                parameters.push(Parameter::whole(&format!("layers.{j}.mixture"), a));
            }
        }
        let main = match (s.pipeline, s.grad_through_analytic) {
            (Pipeline::TwoStep, _) => Main::Absent,
            (Pipeline::ThreeStep, true) => Main::Through,
            (Pipeline::ThreeStep, false) => Main::Detached,
        };
        Ok(Training {
            parameters,
            aux,
            aux_bias: None,
            main,
            classifier: core.scaled_weights(scale)?,
            turned: None,
            noise: sampled,
            rule: s.rule,
            seed: s.seed,
        })
    }

    fn plan(&self, core: &mut Core, task: &Task) -> Result<()> {
        if !self.0.noise {
            return Ok(());
        }
        self.rehearse_module(core)?;
        let aux = core.device().zeros(&[task.classes, core.network.m()])?;
        self.training(core, Lesson::Noise, task.first_class..task.classes, 1.0, aux)?.plan(core, task)
    }
}

impl Paper {
    /// Adds a module with nothing in particular in it, to plan with.
    pub(super) fn rehearse_module(&self, core: &mut Core) -> Result<()> {
        let noise = &mut core.network.noise;
        let row = noise.layout.len();
        noise.add_module(|_| Ok(vec![0.0; row]))?;
        noise.set_mixture(&vec![1.0; noise.modules], self.0.mixing == Mixture::Learned)
    }
}
