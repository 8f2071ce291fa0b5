//! A ViT with noise layers and random weights, as large as asked for, and what one pass through it costs.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView};

use super::Random;
use crate::device::{Device, Tensor};
use crate::model::network::Network;
use crate::model::noise::{NoiseLayers, PhiLayout};
use crate::model::vit::{Vit, VitConfig};
use crate::model::weights::Weights;
use crate::{Error, Result};

/// Random features and classes of the heads.
pub const FEATURES: usize = 2048;
pub const CLASSES: usize = 100;

/// Sizes of a network and its batch.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub name: &'static str,
    pub image: usize,
    pub patch: usize,
    pub dim: usize,
    pub depth: usize,
    pub heads: usize,
    /// Noise width.
    pub d2: usize,
    pub batch: usize,
}

/// A small backbone on 32 x 32 images in patches of 4, and the usual ones with reduced batches.
pub const SMALL: Sizes =
    Sizes { name: "d192-4-blocks", image: 32, patch: 4, dim: 192, depth: 4, heads: 3, d2: 96, batch: 16 };
pub const VIT_TI: Sizes =
    Sizes { name: "ViT-Ti", image: 224, patch: 16, dim: 192, depth: 12, heads: 3, d2: 96, batch: 4 };
pub const VIT_B: Sizes =
    Sizes { name: "ViT-B", image: 224, patch: 16, dim: 768, depth: 12, heads: 12, d2: 192, batch: 2 };

impl Sizes {
    fn config(&self) -> VitConfig {
        VitConfig {
            image: self.image,
            patch: self.patch,
            channels: 3,
            dim: self.dim,
            depth: self.depth,
            heads: self.heads,
            mlp: 4 * self.dim,
            registers: 0,
            layer_scale: false,
            eps: 1e-6,
        }
    }

    /// Token rows of a batch.
    pub fn rows(&self) -> usize {
        self.batch * self.config().tokens()
    }

    /// Operations of one block's products, forward: 12 d^2 weights, scores and their use.
    pub fn block_flops(&self) -> f64 {
        let (rows, dim, tokens) = (self.rows() as f64, self.dim as f64, self.config().tokens() as f64);
        rows * (24.0 * dim * dim + 4.0 * tokens * dim)
    }

    /// Operations of embedding, random features and logits, forward.
    pub fn ends_flops(&self) -> f64 {
        let patches = self.batch * (self.image / self.patch).pow(2);
        let embed = patches * 3 * self.patch.pow(2) * self.dim;
        2.0 * (embed + self.batch * FEATURES * (self.dim + CLASSES)) as f64
    }

    /// Bytes of the weights of blocks and heads.
    pub fn weight_bytes(&self) -> f64 {
        4.0 * (12 * self.depth * self.dim * self.dim + FEATURES * (self.dim + CLASSES)) as f64
    }

    /// Normalised images [B, 3, H, W].
    pub fn pixels(&self, random: &mut Random) -> Vec<f32> {
        random.numbers(self.batch * 3 * self.image * self.image, 1.0)
    }

    /// The network with `modules` modules of one or two layers; `official` has linear branches beside them.
    pub fn network(&self, device: &Device, layers: usize, modules: usize, official: bool) -> Result<Network> {
        let mut random = Random::new();
        let mut wide = |n: usize, fan: usize| -> Vec<f64> {
            let numbers = random.numbers(n, (fan as f32).sqrt().recip());
            numbers.into_iter().map(f64::from).collect()
        };
        let (dim, d2) = (self.dim, self.d2);
        let projections: Vec<_> = (0..self.depth).map(|_| (wide(dim * d2, dim), wide(d2 * dim, d2))).collect();
        let layout = PhiLayout::new(d2, layers)?;
        let mut noise = NoiseLayers::new(device, layout, dim, &projections, official)?;
        for _ in 0..modules {
            noise.add_module(|_| Ok(wide(layout.len(), d2)))?;
        }
        noise.set_mixture(&vec![1.0 / modules as f64; modules], !official)?;
        for branch in noise.layers.iter().filter_map(|layer| layer.branch.as_ref()) {
            device.write(&branch.weight, &wide(dim * dim, dim))?;
        }
        Ok(Network {
            device: device.clone(),
            vit: Vit::load(device, self.config(), self.backbone()?, false)?,
            noise,
            random: Random::new().tensor(device, &[dim, FEATURES], (dim as f32).sqrt().recip())?,
            anchor: None,
        })
    }

    /// Analytic or auxiliary classifier, [classes, m].
    pub fn head(&self, device: &Device) -> Result<Tensor> {
        Random::new().tensor(device, &[CLASSES, FEATURES], (FEATURES as f32).sqrt().recip())
    }

    /// Weights by timm's names; scales of norms are 1 on average, matrices keep the variance of what they multiply.
    fn backbone(&self) -> Result<Weights> {
        let (d, p) = (self.dim, self.patch);
        let mut shapes: Vec<(String, Vec<usize>)> = vec![
            ("cls_token".into(), vec![1, 1, d]),
            ("pos_embed".into(), vec![1, self.config().tokens(), d]),
            ("patch_embed.proj.weight".into(), vec![d, 3, p, p]),
            ("patch_embed.proj.bias".into(), vec![d]),
            ("norm.weight".into(), vec![d]),
            ("norm.bias".into(), vec![d]),
        ];
        for j in 0..self.depth {
            for norm in ["norm1", "norm2"] {
                shapes.extend(["weight", "bias"].map(|part| (format!("blocks.{j}.{norm}.{part}"), vec![d])));
            }
            let matrices = [("attn.qkv", 3 * d, d), ("attn.proj", d, d), ("mlp.fc1", 4 * d, d), ("mlp.fc2", d, 4 * d)];
            for (name, outs, ins) in matrices {
                shapes.push((format!("blocks.{j}.{name}.weight"), vec![outs, ins]));
                shapes.push((format!("blocks.{j}.{name}.bias"), vec![outs]));
            }
        }
        let mut random = Random::new();
        let mut numbers = |name: &str, shape: &[usize]| {
            let fan: usize = shape[1..].iter().product();
            let mut numbers = random.numbers(shape.iter().product(), (3.0 / fan.max(16) as f32).sqrt());
            if name.contains("norm") && name.ends_with("weight") {
                numbers.iter_mut().for_each(|x| *x += 1.0);
            }
            numbers
        };
        let data: Vec<_> = shapes.iter().map(|(name, shape)| numbers(name, shape)).collect();
        let views: HashMap<_, _> = shapes
            .iter()
            .zip(&data)
            .map(|((name, shape), data)| {
                let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(data));
                (name, view.expect("as many bytes as the shape says"))
            })
            .collect();
        let bytes = safetensors::serialize(views, None).map_err(|e| Error::Unsupported(e.to_string()))?;
        Weights::parse("random weights", &bytes)
    }
}
