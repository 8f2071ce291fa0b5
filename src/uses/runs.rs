//! Runs of MiN on several backbones.

use safetensors::tensor::{Dtype, TensorView};

use crate::algorithms::noise::Path;
use crate::config::{Gamma, Mixture, Pipeline, Refit};
use crate::device::{Captured, Device};
use crate::kernels::noise_mix::PhiLayout;
use crate::method::{Core, Init, Learner, Min, Observer, Official, Paper, Phase, Samples, Settings, Task, predict};
use crate::model::network::Network;
use crate::model::noise::NoiseLayers;
use crate::model::optimizer::Rule;
use crate::model::vit::{Vit, VitConfig};
use crate::model::weights::Weights;
use crate::{Result, host};

/// One backbone with its settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub name: &'static str,
    image: [usize; 3],
    patch: usize,
    width: usize,
    heads: usize,
    registers: usize,
    /// Images of a full batch; a few more follow it, as at the end of an epoch.
    batch: usize,
    /// Width and layers of the noise modules.
    hidden: usize,
    layers: usize,
    /// Linear branches and trained norms, as in profile `official`.
    official: bool,
    /// The other choice wherever there are two: AdamW, the unfused noise layer, weights kept as halves.
    other: bool,
}

const SGD: Rule = Rule::Sgd { lr: 0.1, momentum: 0.9, weight_decay: 5e-4 };
const ADAMW: Rule = Rule::AdamW { lr: 0.1, weight_decay: 5e-4 };

const ICONS: Run = Run {
    name: "icons",
    image: [1, 32, 32],
    patch: 8,
    width: 96,
    heads: 3,
    registers: 0,
    batch: 256,
    hidden: 48,
    layers: 2,
    official: false,
    other: false,
};
const SMALL: Run =
    Run { name: "vit-ti-197", image: [3, 224, 224], patch: 16, width: 192, batch: 16, hidden: 96, ..ICONS };
const BASE: Run = Run { name: "vit-b-197", width: 768, heads: 12, batch: 8, hidden: 192, ..SMALL };
pub(super) const RUNS: [Run; 6] = [
    ICONS,
    SMALL,
    BASE,
    Run { name: "vit-ti-65", image: [3, 64, 64], patch: 8, batch: 64, ..SMALL },
    Run { name: "vit-ti-65-other", image: [3, 64, 64], patch: 8, batch: 64, registers: 4, other: true, ..SMALL },
    Run { name: "vit-b-official", layers: 1, official: true, ..BASE },
];

pub(super) const TASKS: usize = 10;
pub(super) const CLASSES: usize = 10;
pub(super) const FEATURES: usize = 2048;
/// Noise gradients pass through a block only where another stands before it.
const DEPTH: usize = 2;

impl Run {
    /// The last of ten tasks and an evaluation; for `official` the first two, which train different parameters.
    pub fn dispatches(&self, device: &Device) -> Result<Vec<Captured>> {
        let mut network = self.network(device)?;
        let row = network.noise.layout.len();
        let init: Init = Box::new(move |_, _| Ok(vec![0.0; row]));
        let samples = self.samples();
        let schedule = vec![(0..self.batch).collect(), (self.batch..samples.len()).collect()];
        let before = if self.official { 0 } else { TASKS - 1 };
        let task = Task { index: before, samples, first_class: 0, classes: TASKS * CLASSES, schedule };
        for _ in 0..before {
            network.noise.add_module(|_| Ok(vec![0.0; row]))?;
        }
        let mut core = Core::new(network, Gamma::Value(10.0), self.batch, None)?;
        core.prototypes = vec![vec![1.0; self.width]; before];
        core.weights = device.zeros(&[TASKS * CLASSES, FEATURES])?;
        let rule = if self.other { ADAMW } else { SGD };
        if self.official {
            return captured(device, Min::new(core, Official { rule, epochs: [1; 2], fit_epochs: 1 }, init), &task, 2);
        }
        let settings = Settings {
            noise: true,
            mixing: Mixture::Learned,
            pipeline: Pipeline::ThreeStep,
            refit: Refit::Replace,
            grad_through_analytic: true,
            temperature: 1.0,
            rule,
            epochs: [1; 2],
            seed: 0,
        };
        captured(device, Min::new(core, Paper(settings), init), &task, 1)
    }

    fn network(&self, device: &Device) -> Result<Network> {
        let (d1, d2) = (self.width, self.hidden);
        let config = VitConfig {
            image: self.image[1],
            patch: self.patch,
            channels: self.image[0],
            dim: d1,
            depth: DEPTH,
            heads: self.heads,
            mlp: 4 * d1,
            registers: self.registers,
            layer_scale: false,
            eps: 1e-6,
        };
        let layout = PhiLayout::new(d2, self.layers)?;
        let projections = vec![(vec![0.0; d1 * d2], vec![0.0; d2 * d1]); DEPTH];
        let mut noise = NoiseLayers::new(device, layout, d1, &projections, self.official)?;
        noise.path = Some(if self.other { Path::Unfused } else { Path::Fused });
        Ok(Network {
            device: device.clone(),
            vit: Vit::load(device, config, zeros(&config)?, self.other)?,
            noise,
            random: device.zeros(&[d1, FEATURES])?,
            anchor: None,
        })
    }

    fn samples(&self) -> Samples {
        let images = self.batch + self.batch / 16 + 1;
        let pixels = vec![0.0; images * self.image.iter().product::<usize>()];
        Samples::in_memory(self.image, pixels, vec![0; images]).expect("as many pixels as labels say")
    }
}

/// Learns `task` as many times, and predicts its classes.
fn captured(device: &Device, mut learner: impl Learner, task: &Task, times: usize) -> Result<Vec<Captured>> {
    device.capture(|| {
        for i in 0..times {
            let task = Task { index: task.index + i, ..task.clone() };
            host::wait(learner.learn(task, &mut Silent), "a rehearsal")?;
        }
        host::wait(predict(&learner, &task.samples), "a rehearsal").map(|_| ())
    })
}

/// All weights of a backbone: plans depend on their shapes alone.
fn zeros(c: &VitConfig) -> Result<Weights> {
    let d = c.dim;
    let mut shapes = vec![
        ("patch_embed.proj.weight".to_string(), vec![d, c.channels, c.patch, c.patch]),
        ("patch_embed.proj.bias".into(), vec![d]),
        ("cls_token".into(), vec![1, 1, d]),
        ("pos_embed".into(), vec![1, c.tokens() - c.registers, d]),
        ("norm.weight".into(), vec![d]),
        ("norm.bias".into(), vec![d]),
    ];
    if c.registers > 0 {
        shapes.push(("reg_token".into(), vec![1, c.registers, d]));
    }
    for block in 0..c.depth {
        let mut add = |name: &str, outs: usize, ins: &[usize]| {
            let weight = [&[outs], ins].concat();
            shapes.push((format!("blocks.{block}.{name}.weight"), weight));
            shapes.push((format!("blocks.{block}.{name}.bias"), vec![outs]));
        };
        add("norm1", d, &[]);
        add("attn.qkv", 3 * d, &[d]);
        add("attn.proj", d, &[d]);
        add("norm2", d, &[]);
        add("mlp.fc1", c.mlp, &[d]);
        add("mlp.fc2", d, &[c.mlp]);
    }
    let most = shapes.iter().map(|s| s.1.iter().product::<usize>()).max().unwrap_or(0);
    let bytes = vec![0; 2 * most];
    let views = shapes.into_iter().map(|(name, shape)| {
        let n: usize = shape.iter().product();
        (name, TensorView::new(Dtype::F16, shape, &bytes[..2 * n]).expect("as many bytes as the shape says"))
    });
    let file = safetensors::serialize(views, None).expect("names are distinct");
    Weights::parse("zeros", &file)
}

struct Silent;

impl Observer for Silent {
    fn begin(&mut self, _: Phase, _: &str, _: usize) {}
    fn advance(&mut self, _: usize) {}
    fn end(&mut self, _: Phase, _: Option<f64>) {}
}
