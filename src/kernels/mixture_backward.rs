//! Gradient of the mixture's logits.

use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

/// Threads of the only workgroup.
const WG: usize = 256;

params! {
    /// Uniforms of `mixture_backward.wgsl`.
    pub struct MixtureBackwardParams { groups: u32, modules: u32, offset: u32 }
}

/// `da_i = omega_i (domega_i - sum_j omega_j domega_j)` for one layer, `domega` being the column sums of its partial
/// sums, taken in a fixed order.
///
/// # Shapes
/// partials [groups, T]; omega, out `[T]` or [layers, T].
#[derive(Clone, Copy, Debug)]
pub struct MixtureBackward<'a> {
    pub partials: &'a Tensor,
    pub omega: &'a Tensor,
    pub out: &'a Tensor,
    /// The row of omega and out.
    pub layer: usize,
}

impl MixtureBackward<'_> {
    pub(crate) fn modules(&self) -> usize {
        self.partials.cols()
    }

    /// Where this layer's elements of omega and out start.
    pub(crate) fn offset(&self) -> usize {
        self.layer * self.modules()
    }
}

impl Kernel for MixtureBackward<'_> {
    const NAME: &'static str = "mixture_backward";
    type Params = MixtureBackwardParams;

    fn params(&self) -> MixtureBackwardParams {
        MixtureBackwardParams {
            groups: self.partials.rows() as u32,
            modules: self.modules() as u32,
            offset: self.offset() as u32,
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let modules = self.modules();
        let [omega, out] = [self.omega, self.out].map(|x| View::span(x, self.offset(), modules));
        Ok(vec![read(1, "partials", View::all(self.partials)), read(2, "omega", omega), write(3, "out", out)])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let wg = WG.min(caps.max_invocations as usize);
        Ok(Plan {
            shader: "mixture_backward",
            constants: vec![("WG", Constant::U32(wg as u32))],
            workgroup: wg as u32,
            shared_bytes: 4 * wg as u32,
            groups: [1, 1, 1],
        })
    }
}
