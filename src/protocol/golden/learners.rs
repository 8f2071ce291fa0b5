//! What recorded runs start from: backbones, networks and learners.

use super::{Golden, RivalCase, RunCase};
use crate::Result;
use crate::config::{Gamma, Mixture, Pipeline, Profile};
use crate::device::Device;
use crate::method::{Core, Init, Min, Official, Paper, Settings};
use crate::model::network::Network;
use crate::model::noise::{NoiseLayers, PhiLayout};
use crate::model::optimizer::Rule;
use crate::model::vit::{Architecture, Vit, VitConfig};
use crate::model::weights::Weights;

/// Files record the batches of all epochs, whatever their number.
const EPOCHS: [usize; 2] = [1; 2];

impl Golden {
    /// The frozen backbone of a rival.
    pub fn vit(&self, case: &RivalCase, device: &Device) -> Result<Vit> {
        let (architecture, backbone) = self.rival(case)?;
        Vit::load(device, architecture, backbone, false)
    }

    /// The same as it can be trained.
    pub fn trainable(&self, case: &RivalCase, device: &Device) -> Result<Vit> {
        let (architecture, backbone) = self.rival(case)?;
        Vit::load_trainable(device, architecture, backbone)
    }

    fn rival(&self, case: &RivalCase) -> Result<(Architecture, Weights)> {
        let backbone = self.tensors.below("backbone.");
        let architecture = VitConfig::infer(&backbone, case.img_size, case.num_heads, case.layernorm_eps)?;
        let channels = architecture.sizes.channels;
        self.require(case.in_chans == channels, "in_chans", case.in_chans, &format!("{channels}"))?;
        Ok((architecture, backbone))
    }

    /// The network and empty statistics that the run starts from.
    pub fn core(&self, case: &RunCase, device: &Device) -> Result<Core> {
        let backbone = self.tensors.below("backbone.");
        let architecture = VitConfig::infer(&backbone, case.img_size, case.num_heads, case.layernorm_eps)?;
        let vit = architecture.sizes;
        let (d1, d2, m) = (vit.dim, case.noise_hidden, case.buffer_size);
        self.require(case.in_chans == vit.channels, "in_chans", case.in_chans, &format!("{}", vit.channels))?;
        let mut tensors = self.tensors.clone();
        let mut projections = Vec::new();
        for j in 0..vit.depth {
            let down = tensors.take(&format!("noise.{j}.w_down"), &[d1, d2])?;
            projections.push((down, tensors.take(&format!("noise.{j}.w_up"), &[d2, d1])?));
            self.tensors.shaped(&self.part(&format!("task0.noise.{j}"), "mu.fc2.weight"), &[d2, d2])?;
        }
        let layout = PhiLayout::new(d2, case.phi_layers)?;
        let official = case.profile == Profile::Official;
        let network = Network {
            device: device.clone(),
            vit: Vit::load(device, architecture, backbone, false)?,
            noise: NoiseLayers::new(device, layout, d1, &projections, official)?,
            random: device.upload(&tensors.take("buffer.weight", &[d1, m])?, &[d1, m])?,
            anchor: None,
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
                let recorded =
                    tensors.shaped(&format!("init.task{task}.noise.{layer}.{name}"), &layout.shape(&name))?;
                layout.pack(&name, recorded, &mut row)?;
            }
            Ok(row)
        }))
    }

    pub fn paper(&self, case: &RunCase, core: Core) -> Result<Min<Paper>> {
        let settings = Settings {
            noise: true,
            mixing: Mixture::Learned,
            pipeline: Pipeline::ThreeStep,
            refit: case.refit.ok_or_else(|| self.tensors.error("its `case` has no `refit`"))?,
            grad_through_analytic: case.grad_through_analytic,
            temperature: case.temperature,
            rule: Self::rule(case),
            epochs: EPOCHS,
            seed: case.seed,
        };
        Ok(Min::new(core, Paper(settings), self.init(case)?))
    }

    pub fn official(&self, case: &RunCase, core: Core) -> Result<Min<Official>> {
        let official = Official { rule: Self::rule(case), epochs: EPOCHS, fit_epochs: case.fit_epochs };
        Ok(Min::new(core, official, self.init(case)?))
    }
}
