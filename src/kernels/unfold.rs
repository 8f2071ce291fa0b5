//! The patches of images as rows of a matrix: one side of the product that the gradient of their embedding is.

use super::add::elementwise;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Error, Result, params};

params! {
    /// Uniforms of `unfold.wgsl`; n counts the written elements.
    pub struct UnfoldParams {
        n: u32,
        channels: u32, height: u32, width: u32,
        patch_size: u32,
        patches: u32,
        front: u32,
    }
}

/// `out[b][P + t][(c p + i) p + j]` is pixel (i, j) of channel c of patch t of image b, patches in row order, and
/// `out[b][r] = 0` for the P tokens r in front: with dy [b, P + patches, d], the gradient of [`super::patch_embed`]'s weight is
/// `out^T dy`.
///
/// # Shapes
/// images [b, c, h, w] with h and w divisible by the patch size p, out [b, P + patches, c p p].
///
/// Source: `torch.nn.Unfold` with `stride = kernel_size`, transposed.
#[derive(Clone, Copy, Debug)]
pub struct Unfold<'a> {
    pub images: &'a Tensor,
    pub out: &'a Tensor,
    /// Tokens in front of the patches, P.
    pub front: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
}

impl Unfold<'_> {
    /// Batch, channels, height and width of the images.
    pub(crate) fn image_shape(&self) -> [usize; 4] {
        self.images.shape().try_into().expect("images have four dimensions")
    }

    /// Patches of an image.
    pub(crate) fn patches(&self) -> usize {
        let [_, _, h, w] = self.image_shape();
        (h / self.patch) * (w / self.patch)
    }
}

impl Kernel for Unfold<'_> {
    const NAME: &'static str = "unfold";
    type Params = UnfoldParams;

    fn params(&self) -> UnfoldParams {
        let [_, c, h, w] = self.image_shape();
        UnfoldParams {
            n: self.out.len() as u32,
            channels: c as u32,
            height: h as u32,
            width: w as u32,
            patch_size: self.patch as u32,
            patches: self.patches() as u32,
            front: self.front as u32,
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let p = self.patch;
        let &[b, c, h, w] = self.images.shape() else {
            return Err(Error::shape(Self::NAME, "images", "[b, c, h, w]", self.images.shape()));
        };
        if p == 0 || !h.is_multiple_of(p) || !w.is_multiple_of(p) {
            let expected = format!("[b, c, h, w] with h and w divisible by {p}");
            return Err(Error::shape(Self::NAME, "images", expected, self.images.shape()));
        }
        Ok(vec![
            read(1, "images", View::all(self.images)),
            write(2, "out", View::shaped(self.out, [b, self.front + self.patches(), c * p * p])),
        ])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("unfold", self.out.len(), caps))
    }
}
