//! The inner product of two tensors: a term of a loss, or the gradient of a factor.

use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `inner_product.wgsl`.
    pub struct InnerProductParams { n: u32, slot: u32, accumulate: u32, factor: f32 }
}

/// `out[slot] (+)= factor sum_i x[i] y[i]`. One workgroup sums: x and y are no larger than logits.
///
/// # Shapes
/// x and y hold equally many elements and may be one tensor; out any length above slot.
#[derive(Clone, Copy, Debug)]
pub struct InnerProduct<'a> {
    pub x: &'a Tensor,
    pub y: &'a Tensor,
    pub out: &'a Tensor,
    /// Element of `out` that is written.
    pub slot: usize,
    pub factor: f64,
    /// Adds to `out` instead of overwriting it.
    pub accumulate: bool,
}

impl Kernel for InnerProduct<'_> {
    const NAME: &'static str = "inner_product";
    type Params = InnerProductParams;

    fn params(&self) -> InnerProductParams {
        InnerProductParams {
            n: self.x.len() as u32,
            slot: self.slot as u32,
            accumulate: self.accumulate.into(),
            factor: self.factor as f32,
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [x, y] = [self.x, self.y].map(|x| View::shaped(x, [self.x.len()]));
        Ok(vec![read(1, "x", x), read(2, "y", y), write(3, "out", View::span(self.out, self.slot, 1))])
    }

    fn flops(&self) -> f64 {
        2.0 * self.x.len() as f64
    }

    fn plan(&self, _: &Caps) -> Result<Plan> {
        let workgroup = 256;
        Ok(Plan {
            shader: "inner_product",
            constants: vec![("WG", Constant::U32(workgroup))],
            workgroup,
            shared_bytes: 4 * workgroup,
            groups: [1; 3],
        })
    }
}
