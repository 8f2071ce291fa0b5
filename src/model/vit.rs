//! Pre-norm Vision Transformers with timm's names (SPEC section 1 and its relatives) on a device.

use crate::autograd::{Linear, Tape, Var};
use crate::device::{Device, Tensor};
use crate::kernels::gemm::Activation;
use crate::kernels::patch_embed::PatchEmbed;
use crate::model::architecture::Pooling;
pub use crate::model::architecture::{Architecture, MAX_IMAGE, VitConfig};
use crate::model::fingerprint::Hasher;
use crate::model::load::Loader;
use crate::model::weights::Weights;
use crate::{Error, Result};

#[derive(Clone, Debug)]
pub(super) struct Norm {
    pub weight: Tensor,
    pub bias: Tensor,
}

#[derive(Clone, Debug)]
pub(super) struct Affine {
    /// [in, out].
    pub weight: Tensor,
    pub bias: Option<Tensor>,
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

/// The tensors of a backbone.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    /// [channels patch^2, d1].
    pub patch: Tensor,
    /// Class token and registers, with their positions.
    pub front: Option<Tensor>,
    /// Position embedding of the patches, with the bias of the convolution.
    pub pos: Tensor,
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
    /// [`Error::Weights`] and device errors.
    pub fn load(device: &Device, architecture: impl Into<Architecture>, w: Weights, halves: bool) -> Result<Self> {
        let architecture = architecture.into();
        let left_aside = architecture.check(&w)?;
        let mut hasher = Hasher::default();
        hasher.add(&format!("{architecture:?} halves {halves}"), &[], &[]);
        for (name, shape) in architecture.tensors() {
            hasher.add(&name, &shape, w.get(&name)?);
        }
        let parts = Loader { device, architecture: &architecture, w, halves }.parts()?;
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
        let affine = |a: &Affine| a.weight.bytes() + a.bias.as_ref().map_or(0, Tensor::bytes);
        let block = |b: &Block| {
            [&b.qkv, &b.proj, &b.fc1, &b.fc2].map(affine).iter().sum::<u64>() + norm(&b.norm1) + norm(&b.norm2)
        };
        let norms = [&parts.norm_pre, &parts.norm, &parts.fc_norm].into_iter().flatten().map(norm).sum::<u64>();
        let lone = [Some(&parts.patch), parts.front.as_ref(), Some(&parts.pos), parts.rotary.as_ref()];
        let lone = lone.into_iter().flatten().map(Tensor::bytes).sum::<u64>();
        norms + lone + parts.blocks.iter().map(block).sum::<u64>()
    }

    /// Where it is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Scale and shift of the LayerNorms from block `first` on: norm1 and norm2 of each, then those behind the last one, named
    /// as in timm.
    pub fn norm_parameters(&self, first: usize) -> Vec<(String, &Tensor)> {
        let mut norms = Vec::new();
        for (j, block) in self.parts.blocks.iter().enumerate().skip(first) {
            norms.push((format!("blocks.{j}.norm1"), &block.norm1));
            norms.push((format!("blocks.{j}.norm2"), &block.norm2));
        }
        norms.extend(self.parts.norm.iter().map(|norm| ("norm".into(), norm)));
        norms.extend(self.parts.fc_norm.iter().map(|norm| ("fc_norm".into(), norm)));
        let both = norms
            .into_iter()
            .map(|(name, norm)| [(format!("{name}.weight"), &norm.weight), (format!("{name}.bias"), &norm.bias)]);
        both.flatten().collect()
    }

    /// The same backbone with LayerNorms of its own from block `first` on, which can be trained apart.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn with_own_norms(&self, first: usize) -> Result<Self> {
        let mut vit = self.clone();
        let own = |norm: &mut Norm| -> Result<()> {
            for part in [&mut norm.weight, &mut norm.bias] {
                let copy = self.device.reals(part.shape())?;
                self.device.copy(part, 0, &copy, 0, part.len())?;
                *part = copy;
            }
            Ok(())
        };
        let blocks = vit.parts.blocks.iter_mut().skip(first);
        let norms = blocks.flat_map(|block| [&mut block.norm1, &mut block.norm2]);
        norms.chain(&mut vit.parts.norm).chain(&mut vit.parts.fc_norm).try_for_each(own)?;
        Ok(vit)
    }

    /// Features [B, d1] of normalised images [B, C, H, W]; `block(tape, j, x)` makes of all tokens x [B * N, d1] what goes
    /// on to the next block: what [`Vit::block`] makes of them, and what else stands there.
    ///
    /// # Errors
    /// [`Error::Shape`] where the images are not those of the configuration; device errors.
    pub fn features(
        &self,
        tape: &mut Tape,
        images: &Tensor,
        block: impl FnMut(&mut Tape, usize, Var) -> Result<Var>,
    ) -> Result<Var> {
        let x = self.embedded(tape, images)?;
        self.features_from(tape, 0, x, block)
    }

    /// All tokens [B * N, d1] of images, as the first block takes them.
    fn embedded(&self, tape: &mut Tape, images: &Tensor) -> Result<Var> {
        let (c, parts) = (&self.architecture.sizes, &self.parts);
        let &[batch, channels, height, width] = images.shape() else {
            return Err(Error::shape("vit", "images", "[B, C, H, W]", images.shape()));
        };
        if [channels, height, width] != [c.channels, c.image, c.image] {
            return Err(Error::shape("vit", "images", [batch, c.channels, c.image, c.image], images.shape()));
        }
        let tokens = self.architecture.tokens();
        let embedded = self.device.reals(&[batch, tokens, c.dim])?;
        let (weight, prefix) = (&parts.patch, parts.front.as_ref());
        self.device.run(&PatchEmbed { images, weight, prefix, pos: &parts.pos, out: &embedded, patch: c.patch })?;
        let mut x = tape.var(&embedded.reshape(&[batch * tokens, c.dim]));
        if let Some(norm) = &parts.norm_pre {
            x = self.normed(tape, norm, &x)?;
        }
        Ok(x)
    }

    /// [`Vit::features`] of the tokens x [B * N, d1] in front of block `first`.
    ///
    /// # Errors
    /// Device errors.
    pub fn features_from(
        &self,
        tape: &mut Tape,
        first: usize,
        mut x: Var,
        mut block: impl FnMut(&mut Tape, usize, Var) -> Result<Var>,
    ) -> Result<Var> {
        let (parts, tokens) = (&self.parts, self.architecture.tokens());
        let batch = x.value().rows() / tokens;
        for j in first..parts.blocks.len() {
            x = block(tape, j, x)?;
        }
        match self.architecture.style.pooling {
            // The final norm acts on each token alone, so the class token suffices.
            Pooling::Token => x = tape.class_token(&x, batch, tokens)?,
            Pooling::Average => {
                if let Some(norm) = &parts.norm {
                    x = self.normed(tape, norm, &x)?;
                }
                x = tape.token_mean(&x, batch, tokens, self.architecture.front()..tokens)?;
            }
        }
        let before = (self.architecture.style.pooling == Pooling::Token).then_some(&parts.norm);
        for norm in before.into_iter().chain([&parts.fc_norm]).flatten() {
            x = self.normed(tape, norm, &x)?;
        }
        Ok(x)
    }

    /// Features [B, d1] of images by the frozen backbone alone, and, where there is one, the class token behind each block.
    ///
    /// # Errors
    /// See [`Vit::features`].
    pub fn frozen(&self, images: &Tensor) -> Result<(Tensor, Vec<Tensor>)> {
        let (mut tape, mut behind) = (Tape::new(&self.device, []), Vec::new());
        let features = self.features(&mut tape, images, |tape, j, x| {
            let x = self.block(tape, j, &x)?;
            if self.architecture.style.class_token {
                let tokens = self.architecture.tokens();
                behind.push(tape.class_token(&x, x.value().rows() / tokens, tokens)?.value().clone());
            }
            Ok(x)
        })?;
        Ok((features.value().clone(), behind))
    }

    /// Block j on all tokens x [B * N, d1].
    ///
    /// # Errors
    /// Device errors.
    pub fn block(&self, tape: &mut Tape, j: usize, x: &Var) -> Result<Var> {
        let (tokens, heads, mlp) =
            (self.architecture.tokens(), self.architecture.sizes.heads, self.architecture.style.mlp);
        let (block, batch) = (&self.parts.blocks[j], x.value().rows() / tokens);
        let normed = self.normed(tape, &block.norm1, x)?;
        let mut qkv = self.affine(tape, &block.qkv, &normed, None, Activation::None)?;
        if let Some(table) = &self.parts.rotary {
            qkv = tape.rotary(qkv, table, batch, tokens, heads)?;
        }
        let mixed = tape.attention(&qkv, batch, tokens, heads)?;
        let x = self.affine(tape, &block.proj, &mixed, Some(x), Activation::None)?;
        let normed = self.normed(tape, &block.norm2, &x)?;
        let (activation, gate) = mlp.functions();
        let mut hidden = self.affine(tape, &block.fc1, &normed, None, activation)?;
        if let Some(gate) = gate {
            hidden = tape.glu(&hidden, gate)?;
        }
        self.affine(tape, &block.fc2, &hidden, Some(&x), Activation::None)
    }

    fn normed(&self, tape: &mut Tape, norm: &Norm, x: &Var) -> Result<Var> {
        let (gamma, beta) = (tape.var(&norm.weight), tape.var(&norm.bias));
        tape.layer_norm(x, &gamma, &beta, self.architecture.sizes.eps)
    }

    fn affine(&self, tape: &mut Tape, a: &Affine, x: &Var, residual: Option<&Var>, act: Activation) -> Result<Var> {
        let (weight, bias) = (tape.var(&a.weight), a.bias.as_ref().map(|bias| tape.var(bias)));
        tape.linear(x, Linear { bias: bias.as_ref(), residual, activation: act, ..Linear::new(&weight) })
    }
}
