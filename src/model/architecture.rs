//! What a vision transformer computes: sizes that its tensors' shapes tell, and what families do differently.

use serde::Serialize;

use crate::Result;
use crate::kernels::gemm::Activation;
use crate::kernels::glu::Gate;
use crate::model::facts::Facts;
use crate::model::weights::Weights;

/// Pixels along an image at most: sizes of tensors stay far from the end of their integers.
pub const MAX_IMAGE: usize = 1 << 14;

/// Patches of an image at most.
pub const MAX_PATCHES: usize = 1 << 16;

/// Sizes of a ViT.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct VitConfig {
    pub image: usize,
    pub patch: usize,
    pub channels: usize,
    pub dim: usize,
    pub depth: usize,
    pub heads: usize,
    /// Width of the MLP, behind the gate where it has one.
    pub mlp: usize,
    pub registers: usize,
    pub layer_scale: bool,
    pub eps: f32,
}

impl VitConfig {
    /// Patches along an image.
    pub fn grid(&self) -> usize {
        self.image / self.patch
    }

    /// Class token, registers and patches.
    pub fn tokens(&self) -> usize {
        1 + self.registers + self.grid().pow(2)
    }

    /// The plain ViT of these weights; `image` and `heads` stand in no shape.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) where the file is no such ViT or the sizes do not divide.
    pub fn infer(w: &Weights, image: usize, heads: usize, eps: f32) -> Result<Architecture> {
        let told = Facts { image: Some(image), heads: Some(heads), eps: Some(eps), ..Facts::default() };
        Architecture::of(w, told.or(Facts::family("vit", 0)), None)
    }

    /// # Errors
    /// What does not divide or is none, in words.
    fn check(&self) -> Result<(), String> {
        let &Self { image, patch, channels, dim, depth, heads, mlp, eps, .. } = self;
        if patch == 0 || image == 0 || image > MAX_IMAGE || !image.is_multiple_of(patch) {
            return Err(format!(
                "images of {image} pixels do not divide into patches of {patch} (pixels from 1 to {MAX_IMAGE})"
            ));
        }
        if self.grid().pow(2) > MAX_PATCHES {
            return Err(format!("images of {image} pixels have more than {MAX_PATCHES} patches of {patch}"));
        }
        if heads == 0 || dim == 0 || dim % heads != 0 || dim % 4 != 0 {
            return Err(format!("width {dim} does not divide into {heads} heads (and by 4)"));
        }
        if channels == 0 || mlp == 0 || depth == 0 {
            return Err(format!("{channels} channels, {depth} blocks and an MLP of width {mlp}: 1 is the least"));
        }
        if !(eps.is_finite() && eps > 0.0) {
            return Err(format!("`layernorm_eps` is {eps}, a positive number is needed"));
        }
        Ok(())
    }
}

/// How tokens know their place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// `pos_embed` for a square of `grid` x `grid` patches, and before these for so many of the tokens in front.
    Learned { grid: usize, front: usize },
    /// Queries and keys are turned, see [`crate::model::position::rotary`].
    Rotary { temperature: f64 },
}

/// Biases of q, k and v.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QkvBias {
    None,
    /// `attn.qkv.bias`.
    Whole,
    /// `attn.q_bias` and `attn.v_bias`; that of k is 0.
    QueryValue,
}

/// The function inside an MLP, by timm's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    Gelu,
    QuickGelu,
    Silu,
}

/// The MLP of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mlp {
    /// `fc2(act(fc1 x))`.
    Plain { quick: bool },
    /// `fc2(act(a) b)`, a and b the halves of `fc1 x` or, where not packed, `fc1_g x` and `fc1_x x`; act is SiLU, or GELU.
    Gated { packed: bool, gelu: bool },
}

impl Mlp {
    /// The activation inside the product with fc1, and the gate behind it.
    pub fn functions(self) -> (Activation, Option<Gate>) {
        match self {
            Self::Plain { quick: false } => (Activation::Gelu, None),
            Self::Plain { quick: true } => (Activation::QuickGelu, None),
            Self::Gated { gelu: false, .. } => (Activation::None, Some(Gate::Silu)),
            Self::Gated { gelu: true, .. } => (Activation::None, Some(Gate::Gelu)),
        }
    }
}

/// What becomes the feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The class token.
    Token,
    /// The mean of all patches.
    Average,
}

/// What families of ViTs do differently. The default is timm's plain ViT; for its position embedding see
/// [`Architecture::from`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Style {
    pub class_token: bool,
    pub position: Position,
    pub patch_bias: bool,
    /// A norm in front of the first block.
    pub norm_pre: bool,
    pub qkv_bias: QkvBias,
    /// LayerScale is called `gamma_1` and `gamma_2`, as in timm's `Eva`.
    pub eva: bool,
    pub mlp: Mlp,
    /// A norm behind the last block, of every token.
    pub norm: bool,
    pub pooling: Pooling,
    /// A norm of the pooled feature.
    pub fc_norm: bool,
}

/// What is taken from every pixel of a channel in 0..1, and what it is then divided by; one number for all channels, or
/// one each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Normalisation {
    pub mean: Vec<f64>,
    pub std: Vec<f64>,
}

impl Default for Normalisation {
    fn default() -> Self {
        Self { mean: vec![0.5], std: vec![0.5] }
    }
}

impl Normalisation {
    /// What becomes of each byte of a channel: `(x / 255 - mean) / std`.
    pub fn of_bytes(&self, channel: usize) -> [f32; 256] {
        let of = |all: &[f64]| all[channel % all.len()] as f32;
        let (mean, std) = (of(&self.mean), of(&self.std));
        std::array::from_fn(|x| (x as f32 / 255.0 - mean) / std)
    }
}

/// A backbone without its numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Architecture {
    pub sizes: VitConfig,
    pub style: Style,
    pub normalisation: Normalisation,
}

/// The plain ViT: a class token, a learned position embedding of this image size, biases everywhere, GELU, a final norm, the
/// class token as feature; registers have no position.
impl From<VitConfig> for Architecture {
    fn from(sizes: VitConfig) -> Self {
        let style = Style {
            class_token: true,
            position: Position::Learned { grid: sizes.grid(), front: 1 },
            patch_bias: true,
            norm_pre: false,
            qkv_bias: QkvBias::Whole,
            eva: false,
            mlp: Mlp::Plain { quick: false },
            norm: true,
            pooling: Pooling::Token,
            fc_norm: false,
        };
        Self { sizes, style, normalisation: Normalisation::default() }
    }
}

impl Architecture {
    /// What shapes and `told` say together, for images of `image` pixels or those that the weights were made for.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) where the file is no ViT, something is told nowhere, or sizes do not divide.
    pub fn of(w: &Weights, told: Facts, image: Option<usize>) -> Result<Self> {
        let [dim, channels, patch, p2] = w.shape("patch_embed.proj.weight")? else {
            return Err(w.error("`patch_embed.proj.weight` must have four dimensions"));
        };
        let (dim, channels, patch) = (*dim, *channels, *patch);
        if patch != *p2 || patch == 0 {
            return Err(w.error(format!("patches of {patch} x {p2} pixels, squares are needed")));
        }
        let depth = depth(w)?;
        let rows = |name: &str| w.shape(name).ok().and_then(|s| s.first().copied()).unwrap_or(0);
        let packed = w.has("blocks.0.mlp.fc1.weight");
        let fc2 = w.shape("blocks.0.mlp.fc2.weight").ok().and_then(|s| s.get(1).copied()).unwrap_or(0);
        let fc1 = rows(if packed { "blocks.0.mlp.fc1.weight" } else { "blocks.0.mlp.fc1_g.weight" });
        let gated = fc1 > 0 && (!packed || fc2.checked_mul(2) == Some(fc1));
        let registers = w.shape("reg_token").ok().and_then(|s| s.get(1).copied()).unwrap_or(0);
        // What must be there and is not is assumed here, so that it is listed with all that is missing.
        let class_token = w.has("cls_token") || told.pooling == Some(Pooling::Token);
        let (norm, fc_norm) = (w.has("norm.weight"), w.has("fc_norm.weight"));
        let eva = w.has("blocks.0.gamma_1");
        let front = usize::from(class_token);
        let said = told.image.filter(|&image| image <= MAX_IMAGE && image.is_multiple_of(patch));
        let said = said.map(|image| image / patch);
        let found = w.shape("pos_embed").ok().map(|shape| shape.get(1).copied().unwrap_or(0));
        let square = found.and_then(|n| learned(n, [front, 0, front + registers], said));
        let position = match (square, told.temperature, said) {
            (Some(square), ..) => square,
            (None, Some(temperature), _) if found.is_none() => Position::Rotary { temperature },
            (None, _, Some(grid)) => Position::Learned { grid, front },
            _ => return Err(w.error("`pos_embed` is missing, or no square of patches behind the tokens in front")),
        };
        let lacks: Vec<_> = [
            ("num_heads", told.heads.is_none()),
            ("layernorm_eps", told.eps.is_none()),
            ("act_layer", if gated { packed && told.gate.is_none() } else { told.act.is_none() }),
            ("global_pool", told.pooling.is_none()),
            ("image_size", matches!(position, Position::Rotary { .. }) && image.or(told.image).is_none()),
            ("mean", told.mean.is_none()),
            ("std", told.std.is_none()),
        ]
        .into_iter()
        .filter_map(|(key, missing)| missing.then_some(key))
        .collect();
        if !lacks.is_empty() {
            return Err(w.error(format!(
                "no tensor tells {}: name the architecture (--arch or the setting `arch`, such as vit_base_patch16_224), or \
                 say them in the metadata or in timm's config.json beside the file",
                lacks.join(", ")
            )));
        }
        let own = match position {
            Position::Learned { grid, .. } => grid.saturating_mul(patch),
            Position::Rotary { .. } => told.image.or(image).unwrap_or(0),
        };
        if let (Some(said), Position::Learned { grid, .. }) = (told.image.filter(|&said| said != own), position) {
            return Err(w.error(format!(
                "images of {said} pixels are said, and `pos_embed` is one of {grid} x {grid} patches of {patch}"
            )));
        }
        let sizes = VitConfig {
            image: image.unwrap_or(own),
            patch,
            channels,
            dim,
            depth,
            heads: told.heads.unwrap_or(0),
            mlp: if gated && packed { fc1 / 2 } else { fc1 },
            registers,
            layer_scale: eva || w.has("blocks.0.ls1.gamma"),
            eps: told.eps.unwrap_or(0.0),
        };
        sizes.check().map_err(|e| w.error(e))?;
        let mlp = match (gated, if gated { told.gate.filter(|_| packed) } else { told.act }) {
            (false, Some(Act::Gelu)) => Mlp::Plain { quick: false },
            (false, Some(Act::QuickGelu)) => Mlp::Plain { quick: true },
            (true, None | Some(Act::Silu)) => Mlp::Gated { packed, gelu: false },
            (true, Some(Act::Gelu)) => Mlp::Gated { packed, gelu: true },
            (_, act) => {
                let kind = if gated { "with" } else { "without" };
                return Err(w.error(format!("MLPs {kind} a gate are not offered with act_layer = {act:?}")));
            }
        };
        let style = Style {
            class_token,
            position,
            patch_bias: w.has("patch_embed.proj.bias"),
            norm_pre: w.has("norm_pre.weight"),
            qkv_bias: match [w.has("blocks.0.attn.qkv.bias"), w.has("blocks.0.attn.q_bias")] {
                [true, _] => QkvBias::Whole,
                [_, true] => QkvBias::QueryValue,
                _ => QkvBias::None,
            },
            eva,
            mlp,
            norm: norm || !fc_norm,
            pooling: told.pooling.unwrap_or(Pooling::Token),
            fc_norm,
        };
        if matches!(position, Position::Rotary { .. }) && !(dim / sizes.heads).is_multiple_of(4) {
            return Err(w.error(format!("heads of {} columns: those that turn have multiples of 4", dim / sizes.heads)));
        }
        let normalisation = Normalisation { mean: told.mean.unwrap_or_default(), std: told.std.unwrap_or_default() };
        normalisation.check(channels).map_err(|e| w.error(e))?;
        Ok(Self { sizes, style, normalisation })
    }

    /// Class token and registers.
    pub fn front(&self) -> usize {
        self.sizes.registers + usize::from(self.style.class_token)
    }

    pub fn tokens(&self) -> usize {
        self.front() + self.sizes.grid().pow(2)
    }
}

impl Normalisation {
    fn check(&self, channels: usize) -> Result<(), String> {
        for (key, numbers) in [("mean", &self.mean), ("std", &self.std)] {
            if numbers.len() != 1 && numbers.len() != channels || numbers.iter().any(|x| !x.is_finite()) {
                return Err(format!("`{key}` is {numbers:?}, one number or {channels} are needed"));
            }
        }
        match self.std.iter().find(|&&x| (x as f32) < f32::MIN_POSITIVE) {
            Some(x) => Err(format!("`std` is {x}, a positive number is needed")),
            None => Ok(()),
        }
    }
}

/// Blocks, counted by their names.
fn depth(w: &Weights) -> Result<usize> {
    let index = |name: &str| name.strip_prefix("blocks.")?.split('.').next()?.parse::<usize>().ok();
    let indices: std::collections::BTreeSet<_> = w.iter().filter_map(|(name, ..)| index(name)).collect();
    match indices.last() {
        Some(&last) if last < 2 * indices.len() => Ok(last + 1),
        Some(&last) => Err(w.error(format!("there is a block {last}, and {} blocks are there", indices.len()))),
        None => Err(w.error("`blocks.0.norm1.weight` is missing, and so are all blocks")),
    }
}

/// A position embedding of `n` entries, those of so many tokens in front and of a square; if there are several, `grid`
/// decides.
fn learned(n: usize, front: [usize; 3], grid: Option<usize>) -> Option<Position> {
    let square = |front: usize| {
        let grid = n.checked_sub(front)?.isqrt();
        (grid > 0 && grid * grid == n - front).then_some(Position::Learned { grid, front })
    };
    let all = || front.into_iter().filter_map(square);
    let wanted = |p: &Position| matches!(p, Position::Learned { grid: found, .. } if Some(*found) == grid);
    all().find(wanted).or_else(|| all().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_normalised_by_channel() {
        let normalisation = Normalisation { mean: vec![0.2, 0.5], std: vec![0.5, 0.125] };
        let [first, second] = [0, 1].map(|channel| normalisation.of_bytes(channel));
        assert_eq!([first[51], first[255], second[0], second[255]], [0.0, 1.6, -4.0, 4.0]);
        assert_eq!(Normalisation::default().of_bytes(2)[255], 1.0);
    }

    #[test]
    fn a_square_of_two_kinds_is_decided_by_the_image() {
        // Nine patches without a position in front, or four with five.
        let front = [1, 0, 5];
        assert_eq!(learned(9, front, Some(3)), Some(Position::Learned { grid: 3, front: 0 }));
        assert_eq!(learned(9, front, Some(2)), Some(Position::Learned { grid: 2, front: 5 }));
        assert_eq!(learned(1370, [1, 0, 1], None), Some(Position::Learned { grid: 37, front: 1 }));
        assert_eq!(learned(198, [1, 0, 1], None), None, "a distilled DeiT");
    }
}
