//! Mixture weights from their logits.

use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, grid, read, write};
use crate::{Result, params};

/// Threads of a workgroup.
const WG: usize = 64;

params! {
    /// Uniforms of `mixture.wgsl`.
    pub struct MixtureParams { rows: u32, modules: u32 }
}

/// `omega = softmax(a)` over the last dimension.
///
/// # Shapes
/// logits, omega `[T]` or [layers, T].
#[derive(Clone, Copy, Debug)]
pub struct MixtureSoftmax<'a> {
    pub logits: &'a Tensor,
    pub omega: &'a Tensor,
}

impl MixtureSoftmax<'_> {
    pub(crate) fn modules(&self) -> usize {
        self.logits.cols()
    }
}

impl Kernel for MixtureSoftmax<'_> {
    const NAME: &'static str = "mixture";
    type Params = MixtureParams;

    fn params(&self) -> MixtureParams {
        MixtureParams { rows: self.logits.rows() as u32, modules: self.modules() as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [logits, omega] =
            [self.logits, self.omega].map(|x| View::shaped(x, [self.logits.rows(), self.logits.cols()]));
        Ok(vec![read(1, "logits", logits), write(2, "omega", omega)])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let empty = self.logits.is_empty();
        Ok(Plan {
            shader: "mixture",
            constants: vec![("WG", Constant::U32(WG as u32))],
            workgroup: WG as u32,
            shared_bytes: 0,
            groups: grid(if empty { 0 } else { self.logits.rows().div_ceil(WG) }, caps),
        })
    }
}
