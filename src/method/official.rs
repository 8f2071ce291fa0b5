//! MiN, profile `official` (SPEC section 6): the authors' public code, step for step.

use crate::Result;
use crate::device::Tensor;
use crate::method::core::cosine;
use crate::method::training::{Main, Training};
use crate::method::{Core, Init, Method, Observer, Point, Task};
use crate::model::network::plain;
use crate::model::noise::Noise;
use crate::model::noise::softmax;
use crate::model::optimizer::{Parameter, Rule};

/// Passes of the analytic fit are changed at random as no epoch of training is.
const FIT_EPOCH: u32 = 1 << 16;

/// The authors' procedure. Modules of tasks 0 and 1 never move; that is what the public code does.
pub struct Official {
    core: Core,
    rule: Rule,
    /// Analytic passes over (augmented) training data.
    fit_epochs: usize,
    init: Init,
}

impl std::fmt::Debug for Official {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Official").field("rule", &self.rule).finish_non_exhaustive()
    }
}

impl Official {
    pub fn new(core: Core, rule: Rule, fit_epochs: usize, init: Init) -> Self {
        Self { core, rule, fit_epochs, init }
    }

    /// `fit_epochs` analytic passes over changed images.
    async fn fit_changed(&mut self, task: &Task<'_>, what: &str, observer: &mut dyn Observer) -> Result<()> {
        for pass in 0..self.fit_epochs {
            self.core.pass(task.samples, Some(FIT_EPOCH + pass as u32), true, what, observer).await?;
        }
        Ok(())
    }

    /// Adds module t with the weights that the code gives it: softmax over cosine scores of the prototypes known so
    /// far (t of them) and 1 for the newest, or zeros while fewer than two prototypes are known.
    async fn expand(&mut self) -> Result<()> {
        let t = self.core.network.noise.modules;
        let prototypes = &self.core.prototypes;
        let omega = match prototypes.as_slice() {
            [_, .., last] => {
                let mut scores: Vec<f64> = prototypes.iter().map(|p| cosine(last, p)).collect();
                scores.push(1.0);
                softmax(&scores)
            }
            _ => vec![0.0; t + 1],
        };
        let init = &mut self.init;
        self.core.network.noise.add_module(|layer| init(t, layer))?;
        self.core.network.noise.set_mixture(&omega, false)?;
        self.core.refold(Noise::Plain).await
    }

    /// Task 0 trains the auxiliary head with bias, the linear branches and all LayerNorms; later tasks the head and the
    /// newest module.
    fn training(&self, aux: Tensor) -> Result<Training> {
        let (core, noise) = (&self.core, &self.core.network.noise);
        let mut parameters = vec![Parameter::whole(&aux)];
        let first = noise.modules == 1;
        let mut aux_bias = None;
        if first {
            let bias = core.device().zeros(&[aux.rows()])?;
            parameters.push(Parameter::whole(&bias));
            aux_bias = Some(bias);
            for branch in noise.layers.iter().filter_map(|l| l.branch.as_ref()) {
                parameters.extend([&branch.weight, &branch.bias].map(Parameter::whole));
            }
            parameters.extend(core.network.vit.norm_parameters().into_iter().map(|(_, t)| Parameter::whole(t)));
        } else {
            let row = noise.layout.len();
            let offset = (noise.modules - 1) * row;
            let newest = |l: &crate::model::noise::Layer| Parameter { tensor: l.phi.clone(), offset, len: row };
            parameters.extend(noise.layers.iter().map(newest));
        }
        let main = if first { Main::Absent } else { Main::Detached };
        Ok(Training { parameters, aux, aux_bias, main, noise: plain, rule: self.rule, seed: 0 })
    }
}

impl Method for Official {
    async fn learn(&mut self, task: &Task<'_>, observer: &mut dyn Observer) -> Result<()> {
        task.check()?;
        let device = self.core.device().clone();
        let first = self.core.network.noise.modules == 0;
        self.core.statistics.widen(task.classes)?;
        if !first {
            self.fit_changed(task, "analytic fit", observer).await?;
            self.core.solve(observer).await?;
            observer.inspect(Point::StepOne(&self.core.weights))?;
        }
        self.expand().await?;
        let prototype = self.core.pass(task.samples, None, false, "prototype", observer).await?;
        observer.inspect(Point::PrototypeBefore(&prototype))?;
        self.core.prototypes.push(prototype);
        let aux = device.zeros(&[task.classes, self.core.network.random.cols()])?;
        self.training(aux)?.run(&mut self.core, task, observer).await?;
        self.core.refold(Noise::Plain).await?;
        let prototype = self.core.pass(task.samples, None, false, "prototype", observer).await?;
        *self.core.prototypes.last_mut().expect("pushed above") = prototype;
        if first {
            self.fit_changed(task, "analytic fit", observer).await?;
        }
        self.core.pass(task.samples, None, true, "analytic refit", observer).await?;
        self.core.solve(observer).await
    }

    fn core(&self) -> &Core {
        &self.core
    }

    fn prewarm(&self, task: &Task<'_>) -> Result<()> {
        let device = self.core.device().clone();
        device.prewarm(|| {
            let m = self.core.network.random.cols();
            let mut trial = Self {
                core: Core::new(self.core.network.clone(), self.core.gamma, self.core.fit_batch, None)?,
                init: Box::new(|_, _| Ok(Vec::new())),
                ..*self
            };
            trial.core.weights = device.zeros(&[task.classes, m])?;
            let row = trial.core.network.noise.layout.len();
            // One module trains as task 0, two as the later tasks.
            for omega in [&[1.0][..], &[0.5, 0.5]] {
                trial.core.network.noise.add_module(|_| Ok(vec![0.0; row]))?;
                trial.core.network.noise.set_mixture(omega, false)?;
                trial.training(device.zeros(&[task.classes, m])?)?.plan(&trial.core, task)?;
            }
            trial.core.plan(task, &device, Noise::Plain)
        })
    }
}
