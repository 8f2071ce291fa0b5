//! Pre-norm Vision Transformers with timm's names (SPEC section 1 and its relatives) on a device.

use crate::autograd::{Laid, Linear, PatchOp, Tape, Var};
use crate::device::{Device, Tensor};
use crate::kernels::gemm::Activation;
use crate::model::adapter::Adapted;
use crate::model::architecture::Pooling;
pub use crate::model::architecture::{Architecture, MAX_IMAGE, VitConfig};
use crate::model::fingerprint::Hasher;
use crate::model::load::Loader;
use crate::model::state::take;
use crate::model::weights::Weights;
use crate::store::Tree;
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

/// A tensor of a backbone to be trained.
#[derive(Clone, Debug)]
pub struct Trainable<'a> {
    /// As in timm.
    pub name: String,
    pub tensor: &'a Tensor,
    /// Whether timm has it as [out, in], where the device has [in, out].
    pub transposed: bool,
}

/// What stands beside the parts of a block.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// Prompts among the tokens of an image, in front of all others. No rotation turns them.
    pub prompts: usize,
    /// Keys and values [B, 2, rows, d1] in front of those of the tokens, as `qkv` would have made them. No rotation turns these
    /// either.
    pub prefix: Option<&'a Var>,
    /// An adapter beside the MLP.
    pub adapter: Option<Adapted<'a>>,
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
        Self::loaded(device, architecture.into(), w, halves, false)
    }

    /// The same to be trained as a whole, see [`Vit::trainable`]: nothing is folded.
    ///
    /// # Errors
    /// [`Error::Weights`] and device errors.
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

    /// Every tensor of a backbone that [`Vit::load_trainable`] made, named as in timm, for the size of image that it has;
    /// `fc1_g` and `fc1_x` of a gated MLP stand together as `fc1`.
    pub fn trainable(&self) -> Vec<Trainable<'_>> {
        let (parts, mut all) = (&self.parts, Vec::new());
        let mut add = |name: &str, tensor, transposed| all.push(Trainable { name: name.into(), tensor, transposed });
        if let Places::Apart { class_token, registers, position, bias } = &parts.places {
            for (name, x) in [
                ("cls_token", class_token),
                ("reg_token", registers),
                ("pos_embed", position),
                ("patch_embed.proj.bias", bias),
            ] {
                x.iter().for_each(|x| add(name, x, false));
            }
        }
        add("patch_embed.proj.weight", &parts.patch, true);
        for (j, block) in parts.blocks.iter().enumerate() {
            let scales = self.architecture.scales().unwrap_or_default();
            let maps = [
                ("attn.qkv", &block.qkv, ""),
                ("attn.proj", &block.proj, scales[0]),
                ("mlp.fc1", &block.fc1, ""),
                ("mlp.fc2", &block.fc2, scales[1]),
            ];
            for (name, map, scale) in maps {
                add(&format!("blocks.{j}.{name}.weight"), &map.weight, true);
                match &map.bias[..] {
                    [bias] => add(&format!("blocks.{j}.{name}.bias"), bias, false),
                    // Keys have none.
                    [q, _, v] => [("q", q), ("v", v)]
                        .into_iter()
                        .for_each(|(x, bias)| add(&format!("blocks.{j}.attn.{x}_bias"), bias, false)),
                    _ => {}
                }
                map.scale.iter().for_each(|gamma| add(&format!("blocks.{j}.{scale}"), gamma, false));
            }
        }
        if let Some(norm) = &parts.norm_pre {
            add("norm_pre.weight", &norm.weight, false);
            add("norm_pre.bias", &norm.bias, false);
        }
        self.norm_parameters(0).into_iter().for_each(|(name, x)| add(&name, x, false));
        all
    }

    /// The tensors of [`Vit::trainable`] by their names, [out, in] as timm has them.
    ///
    /// # Errors
    /// Device errors.
    pub async fn state(&self) -> Result<Tree> {
        let mut tree = Tree::new();
        for Trainable { name, tensor, transposed } in self.trainable() {
            let (mut shape, mut data) = (tensor.shape().to_vec(), self.device.read::<f64>(tensor).await?);
            if transposed {
                data = transpose(&data, tensor.rows(), tensor.cols());
                shape.reverse();
            }
            if self.device.is_double() {
                tree.put(&name, &shape, &data);
            } else {
                tree.put(&name, &shape, &data.into_iter().map(|x| x as f32).collect::<Vec<_>>());
            }
        }
        Ok(tree)
    }

    /// What [`Vit::state`] gave, into the tensors that are there: other copies of this backbone have them, too.
    ///
    /// # Errors
    /// [`Error::Store`] where it does not fit.
    pub fn restore(&self, mut tree: Tree) -> Result<()> {
        for Trainable { name, tensor, transposed } in self.trainable() {
            let mut shape = tensor.shape().to_vec();
            if transposed {
                shape.reverse();
            }
            let mut data = take(&mut tree, &name, &shape)?;
            if transposed {
                data = transpose(&data, tensor.cols(), tensor.rows());
            }
            self.device.write(tensor, &data)?;
        }
        tree.finish()
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

    /// Features [B, d1] of images behind prompts [B, P d1], which are P tokens in front of all others from the first block on,
    /// without position embedding: the mean of these tokens behind the final norm, whatever the backbone alone makes features
    /// of (L2P, arXiv 2112.08654).
    ///
    /// # Errors
    /// See [`Vit::features`].
    pub fn prompted_features(&self, tape: &mut Tape, images: &Tensor, prompts: &Var) -> Result<Var> {
        let (parts, own, dim) = (&self.parts, self.architecture.tokens(), self.architecture.sizes.dim);
        let x = self.embedded(tape, images)?;
        let (batch, lead) = (x.value().rows() / own, prompts.value().cols() / dim);
        let x = tape.reshape(&x, &[batch, own * dim]);
        let x = tape.concat(&[prompts, &x])?;
        let tokens = lead + own;
        let mut x = tape.reshape(&x, &[batch * tokens, dim]);
        for j in 0..parts.blocks.len() {
            x = self.block_beside(tape, j, &x, Beside { prompts: lead, ..Beside::default() })?;
        }
        if let Some(norm) = &parts.norm {
            x = self.normed(tape, norm, &x)?;
        }
        x = tape.token_mean(&x, batch, tokens, 0..lead)?;
        match &parts.fc_norm {
            Some(norm) => self.normed(tape, norm, &x),
            None => Ok(x),
        }
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
        let (weight, (front, pos)) = (tape.var(&parts.patch), self.places(tape)?);
        let op = PatchOp { images, weight: &weight, front: front.as_ref(), pos: &pos, patch: c.patch };
        let mut x = tape.patch_embed(op)?;
        if let Some(norm) = &parts.norm_pre {
            x = self.normed(tape, norm, &x)?;
        }
        Ok(x)
    }

    /// The tokens in front [P, d1] with their positions, if there are any, and what is added to the patches [patches, d1].
    fn places(&self, tape: &mut Tape) -> Result<(Option<Var>, Var)> {
        let (dim, patches) = (self.architecture.sizes.dim, self.architecture.sizes.grid().pow(2));
        let (class_token, registers, position, bias) = match &self.parts.places {
            Places::Merged { front, pos } => return Ok((front.as_ref().map(|front| tape.var(front)), tape.var(pos))),
            Places::Apart { class_token, registers, position, bias } => (class_token, registers, position, bias),
        };
        let [class_token, registers, position, bias] =
            [class_token, registers, position, bias].map(|x| x.as_ref().map(|x| tape.var(x)));
        let (front, own) = (self.architecture.front(), usize::from(class_token.is_some()));
        let with = position.as_ref().map_or(0, |position| position.value().rows() - patches);
        let [class_token, registers, bias] = [(&class_token, 0..own), (&registers, own..front), (&bias, 0..patches)]
            .map(|(x, to)| x.as_ref().map(|x| Laid { x, first: 0, to, repeated: false }));
        let [of_front, of_patches] = [(0, 0..with), (with, 0..patches)]
            .map(|(first, to)| position.as_ref().map(|x| Laid { x, first, to, repeated: false }));
        let lead: Vec<_> = [class_token, registers, of_front].into_iter().flatten().collect();
        let bias = bias.map(|bias| Laid { repeated: true, ..bias });
        let pos: Vec<_> = [of_patches, bias].into_iter().flatten().collect();
        let lead = if front > 0 { Some(tape.overlay([front, dim], &lead)?) } else { None };
        Ok((lead, tape.overlay([patches, dim], &pos)?))
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
        self.block_beside(tape, j, x, Beside::default())
    }

    /// The same with something beside its parts; x are all tokens, prompts among them.
    ///
    /// # Errors
    /// Device errors.
    pub fn block_beside(&self, tape: &mut Tape, j: usize, x: &Var, beside: Beside<'_>) -> Result<Var> {
        let tokens = beside.prompts + self.architecture.tokens();
        let (heads, mlp) = (self.architecture.sizes.heads, self.architecture.style.mlp);
        let (block, batch) = (&self.parts.blocks[j], x.value().rows() / tokens);
        let normed = self.normed(tape, &block.norm1, x)?;
        let mut qkv = self.affine(tape, &block.qkv, &normed, None, Activation::None)?;
        if let Some(table) = &self.parts.rotary {
            qkv = tape.rotary(qkv, table, batch, tokens, heads)?;
        }
        let mixed = tape.prefixed_attention(&qkv, beside.prefix, batch, tokens, heads)?;
        let x = self.affine(tape, &block.proj, &mixed, Some(x), Activation::None)?;
        let normed = self.normed(tape, &block.norm2, &x)?;
        let (activation, gate) = mlp.functions();
        let mut hidden = self.affine(tape, &block.fc1, &normed, None, activation)?;
        if let Some(gate) = gate {
            hidden = tape.glu(&hidden, gate)?;
        }
        let residual = match beside.adapter {
            Some(adapted) => adapted.add(tape, &x)?,
            None => x,
        };
        self.affine(tape, &block.fc2, &hidden, Some(&residual), Activation::None)
    }

    fn normed(&self, tape: &mut Tape, norm: &Norm, x: &Var) -> Result<Var> {
        let (gamma, beta) = (tape.var(&norm.weight), tape.var(&norm.bias));
        tape.layer_norm(x, &gamma, &beta, self.architecture.sizes.eps)
    }

    fn affine(&self, tape: &mut Tape, a: &Affine, x: &Var, residual: Option<&Var>, act: Activation) -> Result<Var> {
        let (mut weight, mut bias) = (tape.var(&a.weight), a.bias.first().map(|bias| tape.var(bias)));
        if a.bias.len() > 1 {
            let parts: Vec<Var> = a.bias.iter().map(|bias| tape.var(bias)).collect();
            bias = Some(tape.concat(&parts.iter().collect::<Vec<_>>())?);
        }
        // What follows the product is cheaper in front of it: tokens are more than columns.
        if let Some(scale) = &a.scale {
            let scale = tape.var(scale);
            weight = tape.scale_columns(&weight, &scale)?;
            bias = bias.map(|bias| tape.scale_columns(&bias, &scale)).transpose()?;
        }
        tape.linear(x, Linear { bias: bias.as_ref(), residual, activation: act, ..Linear::new(&weight) })
    }
}
