//! MiN, profile `robust` (SPEC section 9): MiN anchored to its floor, the analytic classifier on the untouched backbone.

use std::ops::Range;

use crate::Result;
use crate::config;
use crate::device::Tensor;
use crate::method::min::{Keep, Lesson, Op, Procedure, Share};
use crate::method::paper::Paper;
use crate::method::training::{Main, Training, Turned};
use crate::method::{Core, Init, Observer, Task};
use crate::model::network::sampled;
use crate::model::noise::Noise;
use crate::model::optimizer::{Parameter, Rule};

/// What stands in the settings beside those of `paper`, whose noise step it takes.
#[derive(Clone, Copy, Debug)]
pub struct Robust {
    pub paper: Paper,
    pub parts: config::Robust,
    /// How the backbone is adapted to the first task.
    pub adaptation: Rule,
    /// Epochs of the noise of the first task, and of a later one.
    pub epochs: [usize; 2],
}

impl Robust {
    fn adapts(&self, task: usize) -> bool {
        task == 0 && self.parts.adapt_epochs > 0
    }
}

impl Procedure for Robust {
    const FOLDED: Noise = Noise::Mean;

    fn ops(&self, task: usize) -> Vec<Op> {
        let (parts, noise, seed) = (&self.parts, self.paper.0.noise, self.paper.0.seed);
        let mut ops = Vec::new();
        if noise && parts.scale_free && task == 0 {
            ops.push(Op::Scale);
        }
        if parts.anchor {
            let trains = noise || self.adapts(task);
            ops.push(Op::Features(Keep::Floor { turns: if parts.rotation && trains { 4 } else { 1 } }));
        }
        if self.adapts(task) {
            ops.extend([Op::Train(Lesson::Backbone), Op::Fold]);
        }
        ops.push(Op::Features(Keep::Before));
        if noise {
            ops.extend([Op::Keep, Op::Fit(Share::All), Op::Solve { first: true }, Op::Return]);
            if parts.calibrate {
                ops.extend([Op::Keep, Op::Fit(Share::Rest { seed }), Op::Calibrate { seed }, Op::Return]);
            }
            ops.extend([Op::Expand, Op::Train(Lesson::Noise), Op::Fold, Op::Features(Keep::After)]);
            if task > 0 && parts.compensation > 0.0 {
                ops.push(Op::Compensate { ridge: parts.compensation });
            }
        }
        ops.extend([Op::Fit(Share::All), Op::Solve { first: false }]);
        ops
    }

    fn epochs(&self, task: usize, lesson: Lesson) -> usize {
        match lesson {
            Lesson::Backbone if self.adapts(task) => self.parts.adapt_epochs,
            Lesson::Noise if self.paper.0.noise => self.epochs[task.min(1)],
            _ => 0,
        }
    }

    fn expand(&self, core: &mut Core, init: &mut Init, observer: &mut dyn Observer) -> Result<()> {
        self.paper.expand(core, init, observer)
    }

    fn training(
        &self,
        core: &Core,
        lesson: Lesson,
        classes: Range<usize>,
        scale: f64,
        aux: Tensor,
    ) -> Result<Training> {
        let device = core.device();
        let mut training = match lesson {
            Lesson::Noise => self.paper.training(core, lesson, classes.clone(), scale, aux)?,
            // Branches and LayerNorms of the adapted blocks.
            Lesson::Backbone => {
                let bias = device.zeros(&[aux.rows()])?;
                let mut parameters = vec![Parameter::whole("aux", &aux), Parameter::whole("aux.bias", &bias)];
                parameters.extend(core.network.adaptation());
                Training {
                    parameters,
                    aux,
                    aux_bias: Some(bias),
                    main: Main::Absent,
                    classifier: core.weights.clone(),
                    turned: None,
                    noise: sampled,
                    rule: self.adaptation,
                    seed: self.paper.0.seed,
                }
            }
        };
        if self.parts.rotation {
            let head = device.zeros(&[4 * classes.len(), core.network.m()])?;
            training.parameters.push(Parameter::whole("turned", &head));
            training.turned = Some(Turned { head, first_class: classes.start });
        }
        Ok(training)
    }

    fn plan(&self, core: &mut Core, task: &Task) -> Result<()> {
        let aux = |core: &Core| core.device().zeros(&[task.classes, core.network.m()]);
        let classes = task.first_class..task.classes;
        if self.adapts(task.index) || self.adapts(core.network.noise.modules) {
            self.training(core, Lesson::Backbone, classes.clone(), 1.0, aux(core)?)?.plan(core, task)?;
        }
        if !self.paper.0.noise {
            return Ok(());
        }
        self.paper.rehearse_module(core)?;
        self.training(core, Lesson::Noise, classes, 2.0, aux(core)?)?.plan(core, task)
    }
}
