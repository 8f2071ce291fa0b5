//! Vision transformers of a comparison: features, and the training step of profile `paper`. That of width 384 has the weights
//! of the file that `PEER_WEIGHTS` names (DINOv2 ViT-S/14), if it names one; all others have numbers of a formula.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use minoise::autograd::{Linear, Loss, Tape};
use minoise::device::{Device, Tensor};
use minoise::model::facts::Facts;
use minoise::model::network::{Behind, Drawn, Network, sampled};
use minoise::model::noise::{MixtureSource, NoiseLayers, PhiLayout};
use minoise::model::optimizer::{Optimizer, Parameter, Rule};
use minoise::model::vit::{Architecture, Vit, VitConfig};
use minoise::model::weights::Weights;
use minoise::{Error, Result};
use pollster::block_on;
use safetensors::tensor::{Dtype, TensorView};

use super::cases::{Ready, numbers};

const BATCH: usize = 16;
/// Width, patch and pixels of the one that is trained, as of [`super::cases::Case::Features`].
const TRAINED: [usize; 3] = [384, 14, 98];
/// Width of the noise.
const WIDTH: usize = 96;
const RANDOM: usize = 2048;
const CLASSES: usize = 100;
const RULE: Rule = Rule::Sgd { lr: 0.1, momentum: 0.9, weight_decay: 5e-4 };

fn backbone(device: &Device, [dim, patch, image]: [usize; 3]) -> Result<Vit> {
    if let Some(file) = std::env::var_os("PEER_WEIGHTS").filter(|file| dim == 384 && !file.is_empty()) {
        let weights = Weights::read(Path::new(&file))?;
        let architecture = Architecture::of(&weights, Facts::of(&weights, None)?, Some(image))?;
        return Vit::load(device, architecture, weights, false);
    }
    let (heads, mlp, eps) = (dim / 64, 4 * dim, 1e-6);
    let sizes =
        VitConfig { image, patch, channels: 3, dim, depth: 12, heads, mlp, registers: 0, layer_scale: false, eps };
    let architecture = Architecture::from(sizes);
    let weights = random(&architecture)?;
    Vit::load(device, architecture, weights, false)
}

/// The tensors by name, each with a seed of its own.
fn random(architecture: &Architecture) -> Result<Weights> {
    let mut tensors = architecture.tensors();
    tensors.sort();
    let of = |((name, shape), seed): (&(String, Vec<usize>), u32)| -> Vec<f32> {
        let middle = if name.contains("norm") && name.ends_with("weight") { 1.0 } else { 0.0 };
        numbers(seed, shape.iter().product(), 0.07).into_iter().map(|x| x + middle).collect()
    };
    let data: Vec<Vec<f32>> = tensors.iter().zip(300..).map(of).collect();
    let views = tensors.iter().zip(&data).map(|((name, shape), data)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(data));
        (name, view.expect("as many bytes as the shape says"))
    });
    let bytes = safetensors::serialize(views, None).map_err(|e| Error::Unsupported(e.to_string()))?;
    Weights::parse("random weights", &bytes)
}

fn images(device: &Device, side: usize) -> Result<Tensor> {
    device.upload(&numbers(100, BATCH * 3 * side * side, 2.0), &[BATCH, 3, side, side])
}

/// Passes give the features of one batch.
pub fn features(device: &Device, shape: [usize; 3]) -> Result<Ready> {
    let (vit, images) = (Rc::new(backbone(device, shape)?), images(device, shape[2])?);
    let forward = move || -> Result<Tensor> {
        let mut tape = Tape::new(vit.device(), []);
        Ok(vit.features(&mut tape, &images, |tape, j, x| vit.block(tape, j, &x))?.value().clone())
    };
    let (device, checked) = (device.clone(), forward.clone());
    Ok(Ready {
        pass: Box::new(move || drop(forward().expect("a pass"))),
        results: Box::new(move || block_on(device.read(&checked().expect("a pass"))).expect("results")),
    })
}

/// Noise modules behind every block, of which the newest is trained, with the mixture and the auxiliary head.
struct Training {
    network: Network,
    /// W and W_aux, transposed: [classes, m].
    heads: [Tensor; 2],
    images: Tensor,
    labels: Tensor,
    loss: Tensor,
    optimizer: Optimizer,
}

impl Training {
    fn new(device: &Device, modules: usize) -> Result<Self> {
        let vit = backbone(device, TRAINED)?;
        let VitConfig { dim, depth, .. } = vit.architecture.sizes;
        let wide = |seed: usize, n: usize, scale: f32| -> Vec<f64> {
            numbers(seed as u32, n, scale).into_iter().map(f64::from).collect()
        };
        let scale = |fan: usize| 2.0 / (fan as f32).sqrt();
        let projection =
            |j: usize| (wide(400 + 2 * j, dim * WIDTH, scale(WIDTH)), wide(401 + 2 * j, WIDTH * dim, scale(dim)));
        let (layout, projections) = (PhiLayout::new(WIDTH, 2)?, (0..depth).map(projection).collect::<Vec<_>>());
        let mut noise = NoiseLayers::new(device, layout, dim, &projections, false)?;
        for i in 0..modules {
            noise.add_module(|j| Ok(wide(1000 + 100 * i + j, layout.len(), 0.2)))?;
        }
        noise.set_mixture(&wide(500, modules, 1.0), true)?;
        let random = device.upload(&numbers(501, dim * RANDOM, scale(RANDOM)), &[dim, RANDOM])?;
        let shape = [CLASSES, RANDOM];
        let heads = [device.upload(&numbers(502, CLASSES * RANDOM, 0.1), &shape)?, device.zeros(&shape)?];
        let mut parameters = vec![Parameter::whole("aux", &heads[1])];
        for (j, layer) in noise.layers.iter().enumerate() {
            let newest = (modules - 1) * layout.len();
            parameters.push(Parameter::part(&format!("{j}.phi"), &layer.phi, newest, layout.len()));
            if let Some(MixtureSource::Logits(logits)) = &layer.mixture {
                parameters.push(Parameter::whole(&format!("{j}.mixture"), logits));
            }
        }
        let labels: Vec<u32> = (0..BATCH).map(|i| (7 * i % CLASSES) as u32).collect();
        Ok(Self {
            network: Network { device: device.clone(), vit, noise, random, anchor: None },
            heads,
            images: images(device, TRAINED[2])?,
            labels: device.upload_u32(&labels, &[BATCH])?,
            loss: device.zeros(&[1])?,
            optimizer: Optimizer::new(device, RULE, parameters)?,
        })
    }

    /// Every step draws noise, and always the same, which the others find.
    fn step(&mut self, device: &Device) -> Result<()> {
        let mut tape = Tape::new(device, self.optimizer.tracked());
        let drawn = Drawn { seed: 1, step: 0, first_row: 0 };
        let behind = Behind::Layers { noise: sampled, drawn, recompute: false };
        let f = self.network.features(&mut tape, &self.images, behind)?;
        let p = self.network.random_features(&mut tape, &f, None)?;
        let [main, aux] = self.heads.each_ref().map(|head| tape.var(head));
        let main = tape.linear(&p, Linear { transposed: true, ..Linear::new(&main) })?;
        let logits = tape.linear(&p, Linear { transposed: true, residual: Some(&main), ..Linear::new(&aux) })?;
        let root = tape.cross_entropy(&logits, &self.labels, Loss::new(&self.loss, 0, BATCH))?;
        let gradients = tape.backward(&root)?;
        self.optimizer.step(&gradients, 1.0)?;
        device.flush()
    }
}

/// Passes are training steps.
pub fn paper(device: &Device, modules: usize) -> Result<Ready> {
    let (device, again) = (device.clone(), device.clone());
    let training = RefCell::new(Training::new(&device, modules)?);
    device.prewarm(|| training.borrow_mut().step(&device))?;
    Ok(Ready {
        pass: Box::new(move || training.borrow_mut().step(&device).expect("a step")),
        results: Box::new(move || {
            let mut fresh = Training::new(&again, modules).expect("a network");
            let mut loss = || {
                fresh.step(&again).expect("a step");
                block_on(again.read::<f32>(&fresh.loss)).expect("a loss")[0]
            };
            (0..5).map(|_| loss()).collect()
        }),
    })
}
