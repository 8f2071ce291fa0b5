//! From images to features: embedding, blocks, pooling.

use super::{Affine, Norm, Places, Vit};
use crate::autograd::{Laid, Linear, PatchOp, Tape, Var};
use crate::device::Tensor;
use crate::kernels::gemm::Activation;
use crate::model::adapter::Adapted;
use crate::model::architecture::Pooling;
use crate::{Error, Result};

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

impl Vit {
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
    pub(in crate::model) fn embedded(&self, tape: &mut Tape, images: &Tensor) -> Result<Var> {
        let _part = self.device.part("embedding", None);
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
        let _part = self.device.part("features", None);
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
        let _part = self.device.part("block", Some(j));
        let normed = self.first_normed(tape, j, x)?;
        let qkv = self.qkv(tape, j, &normed, beside.prompts)?;
        self.block_from(tape, j, x, &qkv, beside)
    }

    /// The tokens x [B * N, d1] in front of block j behind its first norm, as its attention sees them.
    pub(in crate::model) fn first_normed(&self, tape: &mut Tape, j: usize, x: &Var) -> Result<Var> {
        self.normed(tape, &self.parts.blocks[j].norm1, x)
    }

    /// Queries, keys and values [B * N, 3 d1] of block j for such tokens, of which `prompts` of an image are prompts.
    pub(in crate::model) fn qkv(&self, tape: &mut Tape, j: usize, normed: &Var, prompts: usize) -> Result<Var> {
        let (tokens, heads) = (prompts + self.architecture.tokens(), self.architecture.sizes.heads);
        let qkv = self.affine(tape, &self.parts.blocks[j].qkv, normed, None, Activation::None)?;
        match &self.parts.rotary {
            Some(table) => tape.rotary(qkv, table, normed.value().rows() / tokens, tokens, heads),
            None => Ok(qkv),
        }
    }

    /// Block j on tokens x [B * N, d1] whose queries, keys and values are there.
    pub(in crate::model) fn block_from(
        &self,
        tape: &mut Tape,
        j: usize,
        x: &Var,
        qkv: &Var,
        beside: Beside<'_>,
    ) -> Result<Var> {
        let tokens = beside.prompts + self.architecture.tokens();
        let (heads, mlp) = (self.architecture.sizes.heads, self.architecture.style.mlp);
        let (block, batch) = (&self.parts.blocks[j], x.value().rows() / tokens);
        let mixed = tape.prefixed_attention(qkv, beside.prefix, batch, tokens, heads)?;
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
