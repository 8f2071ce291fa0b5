//! Pre-norm Vision Transformers with timm's names (SPEC section 1 and its relatives) on a device.

mod forward;
mod trainable;

use crate::Result;
use crate::device::{Device, Tensor};
pub use crate::model::architecture::{Architecture, MAX_IMAGE, VitConfig};
use crate::model::fingerprint::Hasher;
use crate::model::load::Loader;
use crate::model::weights::Weights;

pub use forward::Beside;
pub use trainable::Trainable;

#[derive(Clone, Debug)]
pub(super) struct Norm {
    pub weight: Tensor,
    pub bias: Tensor,
}

#[derive(Clone, Debug)]
pub(super) struct Affine {
    /// [in, out].
    pub weight: Tensor,
    /// Side by side `[out]`: none, one, or, in a backbone to be trained, that of queries, zeros, and that of values.
    pub bias: Vec<Tensor>,
    /// LayerScale `[out]` of the result, in a backbone to be trained.
    pub scale: Option<Tensor>,
}

#[derive(Clone, Debug)]
pub(super) struct Block {
    pub norm1: Norm,
    pub qkv: Affine,
    pub proj: Affine,
    pub norm2: Norm,
    pub fc1: Affine,
    pub fc2: Affine,
}

/// The tokens in front, and what is added to the patches.
#[derive(Clone, Debug)]
pub(super) enum Places {
    /// In a frozen backbone.
    Merged {
        /// Class token and registers, with their positions.
        front: Option<Tensor>,
        /// Position embedding of the patches, with the bias of the convolution.
        pos: Tensor,
    },
    /// In a backbone to be trained, each as timm has it.
    Apart {
        class_token: Option<Tensor>,
        registers: Option<Tensor>,
        /// Of some tokens in front, and of the patches.
        position: Option<Tensor>,
        bias: Option<Tensor>,
    },
}

/// The tensors of a backbone.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    /// [channels patch^2, d1].
    pub patch: Tensor,
    pub places: Places,
    /// Cosines and sines of the patches.
    pub rotary: Option<Tensor>,
    pub norm_pre: Option<Norm>,
    pub blocks: Vec<Block>,
    pub norm: Option<Norm>,
    pub fc_norm: Option<Norm>,
}

/// The backbone on a device.
#[derive(Clone, Debug)]
pub struct Vit {
    pub architecture: Architecture,
    /// Hash of the architecture and the weights as they were loaded.
    pub fingerprint: String,
    /// Names of the tensors of the file that are no part of the backbone, such as `head.weight`.
    pub left_aside: Vec<String>,
    device: Device,
    parts: Parts,
}

/// [out, in] to [in, out].
pub fn transpose(data: &[f64], outs: usize, ins: usize) -> Vec<f64> {
    let mut t = vec![0.0; data.len()];
    for o in 0..outs {
        for i in 0..ins {
            t[i * outs + o] = data[o * ins + i];
        }
    }
    t
}

impl Vit {
    /// Takes every tensor of a ViT out of `w`. LayerScale is folded into the projections that it follows; with `halves` the
    /// matrices stay packed as f16 on a GPU.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) and device errors.
    pub fn load(device: &Device, architecture: impl Into<Architecture>, w: Weights, halves: bool) -> Result<Self> {
        Self::loaded(device, architecture.into(), w, halves, false)
    }

    /// The same to be trained as a whole, see [`Vit::trainable`]: nothing is folded.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) and device errors.
    pub fn load_trainable(device: &Device, architecture: impl Into<Architecture>, w: Weights) -> Result<Self> {
        Self::loaded(device, architecture.into(), w, false, true)
    }

    fn loaded(device: &Device, architecture: Architecture, w: Weights, halves: bool, apart: bool) -> Result<Self> {
        let left_aside = architecture.check(&w)?;
        let mut hasher = Hasher::default();
        hasher.add(&format!("{architecture:?} halves {halves}"), &[], &[]);
        for (name, shape) in architecture.tensors() {
            hasher.add(&name, &shape, w.get(&name)?);
        }
        let parts = Loader { device, architecture: &architecture, w, halves, apart }.parts()?;
        Ok(Self { fingerprint: hasher.finish(), left_aside, device: device.clone(), parts, architecture })
    }

    /// The same tensors, as `device` sees them: it may be one that only plans.
    pub fn on(&self, device: &Device) -> Self {
        Self { device: device.clone(), ..self.clone() }
    }

    /// Bytes of its tensors on the device.
    pub fn bytes(&self) -> u64 {
        let parts = &self.parts;
        let norm = |norm: &Norm| norm.weight.bytes() + norm.bias.bytes();
        let affine = |a: &Affine| a.bias.iter().chain(&a.scale).chain([&a.weight]).map(Tensor::bytes).sum::<u64>();
        let block = |b: &Block| {
            [&b.qkv, &b.proj, &b.fc1, &b.fc2].map(affine).iter().sum::<u64>() + norm(&b.norm1) + norm(&b.norm2)
        };
        let norms = [&parts.norm_pre, &parts.norm, &parts.fc_norm].into_iter().flatten().map(norm).sum::<u64>();
        let places = match &parts.places {
            Places::Merged { front, pos } => [front.as_ref(), Some(pos), None, None],
            Places::Apart { class_token, registers, position, bias } => {
                [class_token, registers, position, bias].map(Option::as_ref)
            }
        };
        let lone = places.into_iter().chain([Some(&parts.patch), parts.rotary.as_ref()]);
        let lone = lone.flatten().map(Tensor::bytes).sum::<u64>();
        norms + lone + parts.blocks.iter().map(block).sum::<u64>()
    }

    /// Where it is.
    pub fn device(&self) -> &Device {
        &self.device
    }
}
