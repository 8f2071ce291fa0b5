//! MiN, profile `paper` (SPEC section 5): analytic fit, noise expansion and mixture, analytic fit again.

use crate::Result;
use crate::config::{Mixture, Pipeline, Refit};
use crate::device::Tensor;
use crate::method::core::cosine;
use crate::method::training::{Main, Training};
use crate::method::{Core, Init, Method, Observer, Point, Task};
use crate::model::network::sampled;
use crate::model::noise::Noise;
use crate::model::noise::{MixtureSource, softmax};
use crate::model::optimizer::{Parameter, Rule};

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
    pub seed: u64,
}

/// MiN in three steps a task.
pub struct Paper {
    core: Core,
    settings: Settings,
    init: Init,
}

impl std::fmt::Debug for Paper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Paper").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Paper {
    /// `init(task, layer)` gives the parameters of a new module.
    pub fn new(core: Core, settings: Settings, init: Init) -> Self {
        Self { core, settings, init }
    }

    /// Step 1: W from the statistics so far and those of the task as the network is now; with `Refit::Accumulate`
    /// these stay.
    async fn first_fit(&mut self, task: &Task<'_>, observer: &mut dyn Observer) -> Result<Vec<f64>> {
        let before = match self.settings.refit {
            Refit::Replace => Some(self.core.statistics.fork().await?),
            Refit::Accumulate => None,
        };
        let prototype = self.core.pass(task.samples, None, true, "analytic fit", observer).await?;
        self.core.solve(observer).await?;
        observer.inspect(Point::StepOne(&self.core.weights))?;
        if let Some(before) = before {
            self.core.statistics = before;
        }
        Ok(prototype)
    }

    fn training(&self, aux: Tensor) -> Training {
        let (s, noise) = (&self.settings, &self.core.network.noise);
        let row = noise.layout.len();
        let mut parameters = vec![Parameter::whole(&aux)];
        for layer in &noise.layers {
            let offset = (noise.modules - 1) * row;
            parameters.push(Parameter { tensor: layer.phi.clone(), offset, len: row });
            if let Some(MixtureSource::Logits(a)) = &layer.mixture {
                parameters.push(Parameter::whole(a));
            }
        }
        let main = match (s.pipeline, s.grad_through_analytic) {
            (Pipeline::TwoStep, _) => Main::Absent,
            (Pipeline::ThreeStep, true) => Main::Through,
            (Pipeline::ThreeStep, false) => Main::Detached,
        };
        Training { parameters, aux, aux_bias: None, main, noise: sampled, rule: s.rule, seed: s.seed }
    }

    /// Step 2: module t and the mixture weights.
    async fn train(&mut self, task: &Task<'_>, prototype: Vec<f64>, observer: &mut dyn Observer) -> Result<()> {
        let (core, s) = (&mut self.core, &self.settings);
        core.prototypes.push(prototype);
        let newest = core.prototypes.last().expect("just pushed");
        let similarity: Vec<f64> = core.prototypes.iter().map(|p| cosine(newest, p)).collect();
        observer.inspect(Point::Similarity(&similarity))?;
        let logits: Vec<f64> = similarity.iter().map(|x| x / s.temperature).collect();
        let t = core.prototypes.len() - 1;
        let init = &mut self.init;
        core.network.noise.add_module(|layer| init(t, layer))?;
        match s.mixing {
            Mixture::Sum => core.network.noise.set_mixture(&vec![1.0; logits.len()], false)?,
            Mixture::Similarity => core.network.noise.set_mixture(&softmax(&logits), false)?,
            Mixture::Learned => core.network.noise.set_mixture(&logits, true)?,
        }
        let aux = self.core.device().zeros(&[task.classes, self.core.weights.cols()])?;
        self.training(aux).run(&mut self.core, task, observer).await?;
        self.core.refold(Noise::Mean).await
    }
}

impl Method for Paper {
    async fn learn(&mut self, task: &Task<'_>, observer: &mut dyn Observer) -> Result<()> {
        task.check()?;
        self.core.statistics.widen(task.classes)?;
        if self.settings.noise {
            let prototype = match self.settings.pipeline {
                Pipeline::ThreeStep => self.first_fit(task, observer).await?,
                Pipeline::TwoStep => self.core.pass(task.samples, None, false, "prototype", observer).await?,
            };
            self.train(task, prototype, observer).await?;
        }
        let prototype = self.core.pass(task.samples, None, true, "analytic refit", observer).await?;
        self.core.solve(observer).await?;
        if self.settings.noise {
            *self.core.prototypes.last_mut().expect("pushed by step 2") = prototype;
        }
        Ok(())
    }

    fn core(&self) -> &Core {
        &self.core
    }

    fn prewarm(&self, task: &Task<'_>) -> Result<()> {
        let device = self.core.device().clone();
        device.prewarm(|| {
            let m = self.core.weights.cols();
            let mut trial = Self {
                core: Core::new(
                    self.core.network.clone(),
                    self.core.gamma,
                    self.core.fit_batch,
                    self.core.sample_seed,
                )?,
                settings: self.settings,
                init: Box::new(|_, _| Ok(Vec::new())),
            };
            trial.core.weights = device.zeros(&[task.classes, m])?;
            if self.settings.noise {
                let row = trial.core.network.noise.layout.len();
                trial.core.network.noise.add_module(|_| Ok(vec![0.0; row]))?;
                trial.core.network.noise.set_mixture(&[1.0], self.settings.mixing == Mixture::Learned)?;
                let aux = device.zeros(&[task.classes, m])?;
                trial.training(aux).plan(&trial.core, task)?;
            }
            trial.core.plan(task, &device, Noise::Mean)
        })
    }
}
