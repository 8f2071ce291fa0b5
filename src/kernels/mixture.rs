//! Mixture weights from their logits.

use crate::device::{Bound, Caps, Constant, Io, Kernel, Plan, Real, Tensor, grid, read, write};
use crate::{Error, Result, cpu, params};

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
pub struct Mixture<'a> {
    logits: &'a Tensor,
    omega: &'a Tensor,
}

impl<'a> Mixture<'a> {
    /// # Errors
    /// [`Error::Shape`] where the two differ in shape.
    pub fn new(logits: &'a Tensor, omega: &'a Tensor) -> Result<Self> {
        if logits.shape() != omega.shape() {
            return Err(Error::shape("mixture", "omega", logits.shape(), omega.shape()));
        }
        Ok(Self { logits, omega })
    }

    pub(crate) fn modules(&self) -> usize {
        self.logits.cols()
    }
}

impl Kernel for Mixture<'_> {
    const NAME: &'static str = "mixture";
    type Params = MixtureParams;

    fn params(&self) -> MixtureParams {
        MixtureParams { rows: self.logits.rows() as u32, modules: self.modules() as u32 }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.logits), write(2, self.omega)]
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

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::mixture::mixture(self, io);
    }
}
