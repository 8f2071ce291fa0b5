//! From images to the tokens of a vision transformer.

use crate::device::{Caps, Constant, DeviceClass, Kernel, Operand, Plan, Tensor, View, grid, read, write};
use crate::{Error, Result, params};

params! {
    /// Uniforms of `patch_embed.wgsl`; cols in units of one or four columns.
    pub struct PatchEmbedParams {
        channels: u32, height: u32, width: u32,
        patch_size: u32,
        patches: u32,
        prefix: u32,
        cols: u32,
        batch: u32,
    }
}

/// `out[b][p] = prefix[p]` for the tokens that are the same for all images, and for patch t, in row order,
/// `out[b][P + t] = sum_(c, i, j) patch[c][i][j] weight[(c p + i) p + j] + pos[t]`.
///
/// # Shapes
/// images [b, c, h, w] with h and w divisible by the patch size p, weight [c p p, d], prefix [P, d], pos [patches, d] with
/// the bias in it, out [b, P + patches, d].
///
/// Source: Dosovitskiy et al., "An Image is Worth 16x16 Words"; registers from Darcet et al., "Vision Transformers Need
/// Registers".
#[derive(Clone, Copy, Debug)]
pub struct PatchEmbed<'a> {
    pub images: &'a Tensor,
    /// The transposed weight of the convolution.
    pub weight: &'a Tensor,
    /// Class token and registers with their position embeddings.
    pub prefix: Option<&'a Tensor>,
    /// Position embedding of each patch, plus the convolution's bias.
    pub pos: &'a Tensor,
    pub out: &'a Tensor,
    /// Side of a patch in pixels.
    pub patch: usize,
}

impl PatchEmbed<'_> {
    /// Batch, channels, height and width of the images.
    pub(crate) fn image_shape(&self) -> [usize; 4] {
        self.images.shape().try_into().expect("images have four dimensions")
    }

    /// Patches of an image, and the tokens in front of them.
    pub(crate) fn tokens(&self) -> (usize, usize) {
        let [_, _, h, w] = self.image_shape();
        ((h / self.patch) * (w / self.patch), self.prefix.map_or(0, Tensor::rows))
    }

    /// Columns that a lane makes together.
    fn unit(&self) -> usize {
        if self.weight.cols().is_multiple_of(4) { 4 } else { 1 }
    }
}

impl Kernel for PatchEmbed<'_> {
    const NAME: &'static str = "patch_embed";
    type Params = PatchEmbedParams;

    fn params(&self) -> PatchEmbedParams {
        let [b, c, h, w] = self.image_shape();
        let (patches, prefix) = self.tokens();
        PatchEmbedParams {
            channels: c as u32,
            height: h as u32,
            width: w as u32,
            patch_size: self.patch as u32,
            patches: patches as u32,
            prefix: prefix as u32,
            cols: (self.weight.cols() / self.unit()) as u32,
            batch: b as u32,
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let (p, d) = (self.patch, self.weight.cols());
        let &[b, c, h, w] = self.images.shape() else {
            return Err(Error::shape(Self::NAME, "images", "[b, c, h, w]", self.images.shape()));
        };
        if p == 0 || !h.is_multiple_of(p) || !w.is_multiple_of(p) {
            let expected = format!("[b, c, h, w] with h and w divisible by {p}");
            return Err(Error::shape(Self::NAME, "images", expected, self.images.shape()));
        }
        let (patches, prefix) = self.tokens();
        let mut all = vec![
            read(1, "images", View::all(self.images)),
            read(2, "weight", View::shaped(self.weight, [c * p * p, d])),
        ];
        all.extend(self.prefix.map(|p| read(3, "prefix", View::shaped(p, [prefix, d]))));
        all.push(read(4, "pos", View::shaped(self.pos, [patches, d])));
        all.push(write(5, "out", View::shaped(self.out, [b, prefix + patches, d])));
        Ok(all)
    }

    fn flops(&self) -> f64 {
        2.0 * (self.out.rows() * self.weight.len()) as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let (per_lane, (patches, _)) = (8, self.tokens());
        let workgroup = if caps.class == DeviceClass::SoftwareGpu { 8 } else { 64 };
        let blocks = (self.weight.cols() / self.unit()).div_ceil(workgroup)
            * (usize::from(self.prefix.is_some()) + patches.div_ceil(per_lane));
        Ok(Plan {
            shader: "patch_embed",
            constants: vec![
                ("WIDE", Constant::Flag(self.unit() == 4)),
                ("PREFIX", Constant::Flag(self.prefix.is_some())),
                ("PATCHES", Constant::U32(per_lane as u32)),
                ("WG", Constant::U32(workgroup as u32)),
            ],
            workgroup: workgroup as u32,
            shared_bytes: 0,
            groups: grid(blocks * self.image_shape()[0], caps),
        })
    }
}
