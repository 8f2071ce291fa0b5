//! Pre-norm Vision Transformer with timm's names (SPEC section 1).

use crate::autograd::{Linear, Tape, Var};
use crate::device::{Device, Tensor};
use crate::kernels::gemm::Activation;
use crate::kernels::patch_embed::PatchEmbed;
use crate::model::fingerprint::Hasher;
use crate::model::weights::Weights;
use crate::{Error, Result};

/// Pixels along an image at most: sizes of tensors stay far from the end of their integers.
pub const MAX_IMAGE: usize = 1 << 14;

/// Sizes of a ViT.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VitConfig {
    pub image: usize,
    pub patch: usize,
    pub channels: usize,
    pub dim: usize,
    pub depth: usize,
    pub heads: usize,
    pub mlp: usize,
    pub registers: usize,
    pub layer_scale: bool,
    pub eps: f32,
}

impl VitConfig {
    /// Class token, registers and patches.
    pub fn tokens(&self) -> usize {
        1 + self.registers + (self.image / self.patch).pow(2)
    }

    /// Reads what the tensor shapes tell; `image` and `heads` stand in no shape.
    ///
    /// # Errors
    /// [`Error::Weights`] where the file is no ViT or the sizes do not divide.
    pub fn infer(w: &Weights, image: usize, heads: usize, eps: f32) -> Result<Self> {
        let [dim, channels, patch, p2] = w.shape("patch_embed.proj.weight")? else {
            return Err(w.error("`patch_embed.proj.weight` must have four dimensions"));
        };
        let (dim, channels, patch) = (*dim, *channels, *patch);
        let depth = (0..).take_while(|j| w.has(&format!("blocks.{j}.norm1.weight"))).count();
        let mlp = w.shape("blocks.0.mlp.fc1.weight")?.first().copied().unwrap_or(0);
        let registers = if w.has("reg_token") { w.shape("reg_token")?.get(1).copied().unwrap_or(0) } else { 0 };
        let layer_scale = w.has("blocks.0.ls1.gamma");
        if patch != *p2 || patch == 0 || image == 0 || image > MAX_IMAGE || !image.is_multiple_of(patch) {
            return Err(w.error(format!(
                "images of {image} pixels do not divide into patches of {patch} (pixels from 1 to {MAX_IMAGE})"
            )));
        }
        if heads == 0 || dim == 0 || dim % heads != 0 || dim % 4 != 0 {
            return Err(w.error(format!("width {dim} does not divide into {heads} heads (and by 4)")));
        }
        if channels == 0 || mlp == 0 || depth == 0 {
            return Err(
                w.error(format!("{channels} channels, {depth} blocks and an MLP of width {mlp}: 1 is the least"))
            );
        }
        if !(eps.is_finite() && eps > 0.0) {
            return Err(w.error(format!("`layernorm_eps` is {eps}, a positive number is needed")));
        }
        Ok(Self { image, patch, channels, dim, depth, heads, mlp, registers, layer_scale, eps })
    }

    /// Like [`VitConfig::infer`], with image size, heads and eps from the file's metadata.
    ///
    /// # Errors
    /// [`Error::Weights`] naming the missing key.
    pub fn from_metadata(w: &Weights) -> Result<Self> {
        let field = |key: &str| {
            let text = w.metadata.get(key).ok_or_else(|| w.error(format!("its metadata lacks `{key}`")))?;
            text.parse::<f64>().map_err(|_| w.error(format!("its metadata has `{key}` = `{text}`, a number is needed")))
        };
        for key in ["mean", "std"] {
            let text = w.metadata.get(key).ok_or_else(|| w.error(format!("its metadata lacks `{key}`")))?;
            if text.split(',').any(|x| x.trim().parse() != Ok(0.5)) {
                return Err(w.error(format!("its `{key}` is {text}; images are normalised with 0.5, so 0.5 is needed")));
            }
        }
        let whole = |key: &str| match field(key)? {
            x if x >= 0.0 && x < f64::from(u32::MAX) && x.fract() == 0.0 => Ok(x as usize),
            x => Err(w.error(format!("its metadata has `{key}` = {x}, a whole number is needed"))),
        };
        Self::infer(w, whole("image_size")?, whole("num_heads")?, field("layernorm_eps")? as f32)
    }
}

#[derive(Clone, Debug)]
struct Norm {
    weight: Tensor,
    bias: Tensor,
}

#[derive(Clone, Debug)]
struct Affine {
    /// [in, out].
    weight: Tensor,
    bias: Tensor,
}

#[derive(Clone, Debug)]
struct Block {
    norm1: Norm,
    qkv: Affine,
    proj: Affine,
    norm2: Norm,
    fc1: Affine,
    fc2: Affine,
}

/// The backbone on a device.
#[derive(Clone, Debug)]
pub struct Vit {
    pub config: VitConfig,
    /// Hash of the configuration and the weights as they were loaded.
    pub fingerprint: String,
    device: Device,
    patch: Affine,
    cls: Tensor,
    registers: Option<Tensor>,
    pos: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
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

/// Numbers as halves; `name` is the tensor that they come from.
///
/// # Errors
/// [`Error::Weights`] where one is above what a half holds and would become infinite.
fn in_halves(w: &Weights, name: &str, numbers: &[f64]) -> Result<Vec<half::f16>> {
    let packed: Vec<_> = numbers.iter().map(|&x| half::f16::from_f64(x)).collect();
    if packed.iter().all(|x| x.is_finite()) {
        return Ok(packed);
    }
    // NaN must not vanish in a maximum.
    let largest =
        numbers.iter().fold(0.0f64, |top, x| if x.is_nan() || top.is_nan() { f64::NAN } else { top.max(x.abs()) });
    Err(w.error(format!(
        "`{name}.weight` holds {largest:e}, and a half holds at most {}: use f16_weights = false",
        half::f16::MAX
    )))
}

impl Vit {
    /// Takes every tensor of a ViT out of `w` and refuses leftovers. LayerScale is folded into the projections that it
    /// follows; with `halves` the matrices stay packed as f16 on a GPU.
    ///
    /// # Errors
    /// [`Error::Weights`] and device errors.
    pub fn load(device: &Device, config: VitConfig, mut w: Weights, halves: bool) -> Result<Self> {
        let (d, c) = (config.dim, config);
        let mut hasher = Hasher::default();
        hasher.add(&format!("{config:?} halves {halves}"), &[], &[]);
        w.iter().for_each(|(name, shape, data)| hasher.add(name, shape, data));
        let norm = |w: &mut Weights, name: &str| -> Result<Norm> {
            let weight = device.upload(&w.take(&format!("{name}.weight"), &[d])?, &[d])?;
            Ok(Norm { weight, bias: device.upload(&w.take(&format!("{name}.bias"), &[d])?, &[d])? })
        };
        let affine = |w: &mut Weights, name: &str, shape: &[usize], scale: Option<String>| -> Result<Affine> {
            let (outs, ins) = (shape[0], shape[1..].iter().product());
            let mut weight = transpose(&w.take(&format!("{name}.weight"), shape)?, outs, ins);
            let mut bias = w.take(&format!("{name}.bias"), &[outs])?;
            if let Some(scale) = scale {
                let gamma = w.take(&scale, &[outs])?;
                weight.chunks_mut(outs).for_each(|row| row.iter_mut().zip(&gamma).for_each(|(x, g)| *x *= g));
                bias.iter_mut().zip(&gamma).for_each(|(x, g)| *x *= g);
            }
            let weight = if halves && name.starts_with("blocks") {
                device.upload_f16(&in_halves(w, name, &weight)?, &[ins, outs])?
            } else {
                device.upload(&weight, &[ins, outs])?
            };
            Ok(Affine { weight, bias: device.upload(&bias, &[outs])? })
        };
        let patch = affine(&mut w, "patch_embed.proj", &[d, c.channels, c.patch, c.patch], None)?;
        let cls = device.upload(&w.take("cls_token", &[1, 1, d])?, &[d])?;
        let registers = match c.registers {
            0 => None,
            r => Some(device.upload(&w.take("reg_token", &[1, r, d])?, &[r, d])?),
        };
        let positions = c.tokens() - c.registers;
        let pos = device.upload(&w.take("pos_embed", &[1, positions, d])?, &[positions, d])?;
        let mut blocks = Vec::new();
        for j in 0..c.depth {
            let name = |part: &str| format!("blocks.{j}.{part}");
            let scale = |part: &str| c.layer_scale.then(|| name(part));
            blocks.push(Block {
                norm1: norm(&mut w, &name("norm1"))?,
                qkv: affine(&mut w, &name("attn.qkv"), &[3 * d, d], None)?,
                proj: affine(&mut w, &name("attn.proj"), &[d, d], scale("ls1.gamma"))?,
                norm2: norm(&mut w, &name("norm2"))?,
                fc1: affine(&mut w, &name("mlp.fc1"), &[c.mlp, d], None)?,
                fc2: affine(&mut w, &name("mlp.fc2"), &[d, c.mlp], scale("ls2.gamma"))?,
            });
        }
        let norm = norm(&mut w, "norm")?;
        w.finish()?;
        let fingerprint = hasher.finish();
        Ok(Self { config, fingerprint, device: device.clone(), patch, cls, registers, pos, blocks, norm })
    }

    /// Scale and shift of every LayerNorm: norm1 and norm2 of each block, then the final one, named as in timm.
    pub fn norm_parameters(&self) -> Vec<(String, &Tensor)> {
        let mut all = Vec::new();
        for (j, block) in self.blocks.iter().enumerate() {
            for (name, norm) in [("norm1", &block.norm1), ("norm2", &block.norm2)] {
                all.push((format!("blocks.{j}.{name}.weight"), &norm.weight));
                all.push((format!("blocks.{j}.{name}.bias"), &norm.bias));
            }
        }
        all.push(("norm.weight".into(), &self.norm.weight));
        all.push(("norm.bias".into(), &self.norm.bias));
        all
    }

    /// Class-token features [B, d1] of normalised images [B, C, H, W]; `behind(tape, block, x)` is called behind every
    /// block on all tokens [B * N, d1].
    ///
    /// # Errors
    /// [`Error::Shape`] where the images are not those of the configuration; device errors.
    pub fn features(
        &self,
        tape: &mut Tape,
        images: &Tensor,
        mut behind: impl FnMut(&mut Tape, usize, Var) -> Result<Var>,
    ) -> Result<Var> {
        let c = &self.config;
        let &[batch, channels, height, width] = images.shape() else {
            return Err(Error::shape("vit", "images", "[B, C, H, W]", images.shape()));
        };
        if [channels, height, width] != [c.channels, c.image, c.image] {
            return Err(Error::shape("vit", "images", [batch, c.channels, c.image, c.image], images.shape()));
        }
        let tokens = c.tokens();
        let embedded = self.device.reals(&[batch, tokens, c.dim])?;
        self.device.run(&PatchEmbed {
            images,
            weight: &self.patch.weight,
            bias: &self.patch.bias,
            cls: &self.cls,
            registers: self.registers.as_ref(),
            pos: &self.pos,
            out: &embedded,
            patch: c.patch,
        })?;
        let mut x = tape.var(&embedded.reshape(&[batch * tokens, c.dim]));
        for (j, block) in self.blocks.iter().enumerate() {
            x = self.block(tape, block, &x, batch)?;
            x = behind(tape, j, x)?;
        }
        // The final norm acts on each token alone, so the class token suffices.
        let class = tape.class_token(&x, batch, tokens)?;
        let (gamma, beta) = (tape.var(&self.norm.weight), tape.var(&self.norm.bias));
        tape.layer_norm(&class, &gamma, &beta, c.eps)
    }

    fn block(&self, tape: &mut Tape, block: &Block, x: &Var, batch: usize) -> Result<Var> {
        let c = &self.config;
        let normed = self.normed(tape, &block.norm1, x)?;
        let qkv = self.affine(tape, &block.qkv, &normed, None, Activation::None)?;
        let mixed = tape.attention(&qkv, batch, c.tokens(), c.heads)?;
        let x = self.affine(tape, &block.proj, &mixed, Some(x), Activation::None)?;
        let normed = self.normed(tape, &block.norm2, &x)?;
        let hidden = self.affine(tape, &block.fc1, &normed, None, Activation::Gelu)?;
        self.affine(tape, &block.fc2, &hidden, Some(&x), Activation::None)
    }

    fn normed(&self, tape: &mut Tape, norm: &Norm, x: &Var) -> Result<Var> {
        let (gamma, beta) = (tape.var(&norm.weight), tape.var(&norm.bias));
        tape.layer_norm(x, &gamma, &beta, self.config.eps)
    }

    fn affine(&self, tape: &mut Tape, a: &Affine, x: &Var, residual: Option<&Var>, act: Activation) -> Result<Var> {
        let (weight, bias) = (tape.var(&a.weight), tape.var(&a.bias));
        tape.linear(x, Linear { bias: Some(&bias), residual, activation: act, ..Linear::new(&weight) })
    }
}
