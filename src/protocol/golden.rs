//! Golden files (SPEC section 8): a recorded run as inputs for a learner of this crate.

use std::path::Path;

use serde::Deserialize;

use crate::config::{Gamma, Mixture, Pipeline, Profile, Refit};
use crate::device::Device;
use crate::method::{Core, Init, Official, Paper, Samples, Settings};
use crate::model::network::Network;
use crate::model::noise::{NoiseLayers, PhiLayout};
use crate::model::optimizer::Rule;
use crate::model::vit::{Vit, VitConfig};
use crate::model::weights::Weights;
use crate::{Error, Result};

fn one() -> usize {
    1
}

/// The settings in a golden file's metadata.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RunCase {
    pub profile: Profile,
    #[serde(default)]
    pub seed: u64,
    pub img_size: usize,
    pub in_chans: usize,
    pub num_heads: usize,
    pub noise_hidden: usize,
    #[serde(default = "one")]
    pub phi_layers: usize,
    pub buffer_size: usize,
    pub gamma: f64,
    #[serde(default)]
    pub temperature: f64,
    pub task_classes: Vec<usize>,
    pub lr: f64,
    pub momentum: f64,
    pub weight_decay: f64,
    pub fit_batch: usize,
    #[serde(default = "one")]
    pub fit_epochs: usize,
    pub layernorm_eps: f32,
    #[serde(default)]
    pub grad_through_analytic: bool,
    pub refit: Option<Refit>,
}

/// A ridge regression: random features `p` [n, m], labels `y`, and the classifier.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RidgeCase {
    pub gamma: f64,
    pub classes: usize,
    /// Condition number of the Gram matrix with gamma on its diagonal.
    pub condition: f64,
}

/// What a golden file holds.
#[derive(Clone, Debug)]
pub(super) enum Case {
    Run(Box<RunCase>),
    Ridge(RidgeCase),
    /// A kind whose replay this version does not have.
    Other(String),
}

/// A golden file in memory.
#[derive(Clone, Debug)]
pub(super) struct Golden {
    pub name: String,
    pub case: Case,
    pub tensors: Weights,
}

impl Golden {
    /// # Errors
    /// [`Error::Weights`] where the file is no golden file.
    pub fn read(path: &Path) -> Result<Self> {
        let tensors = Weights::read(path)?;
        let text = tensors.metadata.get("case");
        let text = text.ok_or_else(|| tensors.error("its metadata has no `case`: not a golden file"))?;
        let bad = |e: serde_json::Error| tensors.error(format!("its `case` is not understood: {e}"));
        let value: serde_json::Value = serde_json::from_str(text).map_err(bad)?;
        let case = match value["kind"].as_str() {
            Some("paper_run" | "official_run") => Case::Run(serde_json::from_value(value).map_err(bad)?),
            Some("ridge") => Case::Ridge(serde_json::from_value(value).map_err(bad)?),
            Some(kind @ "vit_features") => Case::Other(kind.into()),
            other => return Err(tensors.error(format!("its `case` is of unknown kind {other:?}"))),
        };
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self { name, case, tensors })
    }

    /// Images of a split whose labels lie in `classes`, and their indices in the file.
    pub fn samples(
        &self,
        case: &RunCase,
        split: &str,
        classes: std::ops::Range<usize>,
    ) -> Result<(Samples, Vec<usize>)> {
        let shape = [case.in_chans, case.img_size, case.img_size];
        let size: usize = shape.iter().product();
        let (x, y) = (self.tensors.get(&format!("{split}.x"))?, self.tensors.get(&format!("{split}.y"))?);
        if x.len() != y.len() * size {
            return Err(self.tensors.error(format!("`{split}.x` is not {} images of {shape:?}", y.len())));
        }
        let idx: Vec<usize> = (0..y.len()).filter(|&i| classes.contains(&(y[i] as usize))).collect();
        let pixels = idx.iter().flat_map(|&i| &x[i * size..(i + 1) * size]).map(|&v| v as f32).collect();
        Ok((Samples { shape, pixels, labels: idx.iter().map(|&i| y[i] as u32).collect() }, idx))
    }

    /// The recorded batches of task `t`, as positions in `idx`.
    pub fn schedule(&self, t: usize, idx: &[usize]) -> Result<Vec<Vec<usize>>> {
        let order = self.tensors.get(&format!("task{t}.run.order"))?;
        let sizes = self.tensors.get(&format!("task{t}.run.batch_sizes"))?;
        let mut at = 0;
        let mut batches = Vec::new();
        for &size in sizes {
            let batch = order.get(at..at + size as usize);
            let batch = batch.ok_or_else(|| self.tensors.error(format!("`task{t}.run.order` is too short")))?;
            let position = |&i: &f64| {
                let found = idx.binary_search(&(i as usize));
                found.map_err(|_| self.tensors.error(format!("`task{t}.run.order` names image {i} of another task")))
            };
            batches.push(batch.iter().map(position).collect::<Result<_>>()?);
            at += size as usize;
        }
        Ok(batches)
    }

    /// The network and empty statistics that the run starts from.
    pub fn core(&self, case: &RunCase, device: &Device) -> Result<Core> {
        let backbone = self.tensors.below("backbone.");
        let vit = VitConfig::infer(&backbone, case.img_size, case.num_heads, case.layernorm_eps)?;
        let (d1, d2, m) = (vit.dim, case.noise_hidden, case.buffer_size);
        let mut tensors = self.tensors.clone();
        let mut projections = Vec::new();
        for j in 0..vit.depth {
            let down = tensors.take(&format!("noise.{j}.w_down"), &[d1, d2])?;
            projections.push((down, tensors.take(&format!("noise.{j}.w_up"), &[d2, d1])?));
        }
        let layout = PhiLayout::new(d2, case.phi_layers)?;
        let official = case.profile == Profile::Official;
        let network = Network {
            device: device.clone(),
            vit: Vit::load(device, vit, backbone, false)?,
            noise: NoiseLayers::new(device, layout, d1, &projections, official)?,
            random: device.upload(&tensors.take("buffer.weight", &[d1, m])?, &[d1, m])?,
        };
        Core::new(network, Gamma::Value(case.gamma), case.fit_batch, None)
    }

    fn rule(case: &RunCase) -> Rule {
        Rule::Sgd { lr: case.lr, momentum: case.momentum, weight_decay: case.weight_decay }
    }

    /// Initial modules as recorded.
    fn init(&self, case: &RunCase) -> Result<Init> {
        let layout = PhiLayout::new(case.noise_hidden, case.phi_layers)?;
        let tensors = self.tensors.clone();
        Ok(Box::new(move |task, layer| {
            let mut row = vec![0.0; layout.len()];
            for kind in ["mu", "sigma"].iter().filter(|_| layout.layers == 2) {
                let name = format!("{kind}.fc1.weight");
                layout.pack(&name, tensors.get(&format!("init.task{task}.noise.{layer}.{name}"))?, &mut row)?;
            }
            Ok(row)
        }))
    }

    pub fn paper(&self, case: &RunCase, core: Core) -> Result<Paper> {
        let settings = Settings {
            noise: true,
            mixing: Mixture::Learned,
            pipeline: Pipeline::ThreeStep,
            refit: case.refit.ok_or_else(|| self.tensors.error("its `case` has no `refit`"))?,
            grad_through_analytic: case.grad_through_analytic,
            temperature: case.temperature,
            rule: Self::rule(case),
            seed: case.seed,
        };
        Ok(Paper::new(core, settings, self.init(case)?))
    }

    pub fn official(&self, case: &RunCase, core: Core) -> Result<Official> {
        Ok(Official::new(core, Self::rule(case), case.fit_epochs, self.init(case)?))
    }
}

impl Golden {
    /// Refuses case values that would make no sense to a learner.
    pub fn check(&self, case: &RunCase) -> Result<()> {
        let sane = case.gamma > 0.0
            && case.fit_batch > 0
            && match case.profile {
                Profile::Paper => case.temperature > 0.0 && (1..=2).contains(&case.phi_layers),
                Profile::Official => case.phi_layers == 1,
            };
        if sane {
            Ok(())
        } else {
            Err(Error::Weights { file: self.name.clone(), message: "its `case` is out of range".into() })
        }
    }
}
