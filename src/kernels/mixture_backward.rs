//! Gradient of the mixture's logits.

use crate::device::{Bound, Caps, Constant, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Error, Result, cpu, params};

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
    partials: &'a Tensor,
    omega: &'a Tensor,
    out: &'a Tensor,
    offset: usize,
}

impl<'a> MixtureBackward<'a> {
    /// The layer whose weights and logit gradients are row `layer` of `omega` and `out`, both [layers, T] or `[T]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where a tensor has no such row or other than T columns.
    pub fn new(partials: &'a Tensor, omega: &'a Tensor, out: &'a Tensor, layer: usize) -> Result<Self> {
        let modules = partials.cols();
        for (arg, tensor) in [("omega", omega), ("out", out)] {
            if tensor.cols() != modules || tensor.rows() <= layer {
                return Err(Error::shape("mixture_backward", arg, [layer + 1, modules], tensor.shape()));
            }
        }
        Ok(Self { partials, omega, out, offset: layer * modules })
    }

    pub(crate) fn modules(&self) -> usize {
        self.partials.cols()
    }

    /// Where this layer's elements of omega and out start.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }
}

impl Kernel for MixtureBackward<'_> {
    const NAME: &'static str = "mixture_backward";
    type Params = MixtureBackwardParams;

    fn params(&self) -> MixtureBackwardParams {
        MixtureBackwardParams {
            groups: self.partials.rows() as u32,
            modules: self.modules() as u32,
            offset: self.offset as u32,
        }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.partials), read(2, self.omega), write(3, self.out)]
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

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::mixture_backward::mixture_backward(self, io);
    }
}
