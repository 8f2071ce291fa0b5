//! The factor that clips gradients, and their norm.

use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

/// What is added to the norm.
pub const EPS: f64 = 1e-6;

params! {
    /// Uniforms of `clip_factor.wgsl`.
    pub struct ClipFactorParams { n: u32, most: f32, eps: f32 }
}

/// `clip = [min(1, most / (norm + 1e-6)), norm]` with `norm = sqrt(sum_k partials[k])`, k < n.
///
/// # Shapes
/// partials hold at least n elements, clip `[2]`. The norm of nothing, n = 0, is 0.
///
/// Source: `torch.nn.utils.clip_grad_norm_`; the partial sums are those of [`SquareSum`](super::square_sum::SquareSum).
#[derive(Clone, Copy, Debug)]
pub struct ClipFactor<'a> {
    pub partials: &'a Tensor,
    /// Partial sums that count.
    pub n: usize,
    /// The largest norm that is left as it is.
    pub most: f64,
    pub clip: &'a Tensor,
}

impl Kernel for ClipFactor<'_> {
    const NAME: &'static str = "clip_factor";
    type Params = ClipFactorParams;

    fn params(&self) -> ClipFactorParams {
        ClipFactorParams { n: self.n as u32, most: self.most as f32, eps: EPS as f32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let partials = View::span(self.partials, 0, self.n);
        Ok(vec![read(1, "partials", partials), write(2, "clip", View::shaped(self.clip, [2]))])
    }

    fn plan(&self, _: &Caps) -> Result<Plan> {
        let workgroup = 256;
        Ok(Plan {
            shader: "clip_factor",
            constants: vec![("WG", Constant::U32(workgroup))],
            workgroup,
            shared_bytes: 4 * workgroup,
            groups: [1, 1, 1],
        })
    }
}
