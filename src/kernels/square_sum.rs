//! Sums of squares by blocks: parts of the norm that gradients are clipped by.

use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, grid, read, write};
use crate::{Result, params};

/// Elements whose squares make one sum.
pub const BLOCK: usize = 1 << 14;

params! {
    /// Uniforms of `square_sum.wgsl`.
    pub struct SquareSumParams { n: u32, slot: u32 }
}

/// Sums that `n` elements have.
pub fn partials(n: usize) -> usize {
    n.div_ceil(BLOCK)
}

/// `partials[slot + k] = sum x[i]^2` over the k-th [`BLOCK`] elements of x; the last block may have fewer. Squares are
/// summed as they are, on a GPU in f32: norms must stay below 1.8e19, the root of its largest number.
///
/// # Shapes
/// x holds n elements, partials at least slot + ceil(n / [`BLOCK`]). An empty x has no sums.
#[derive(Clone, Copy, Debug)]
pub struct SquareSum<'a> {
    pub x: &'a Tensor,
    pub partials: &'a Tensor,
    /// Element of `partials` that the first sum goes to.
    pub slot: usize,
}

impl Kernel for SquareSum<'_> {
    const NAME: &'static str = "square_sum";
    type Params = SquareSumParams;

    fn params(&self) -> SquareSumParams {
        SquareSumParams { n: self.x.len() as u32, slot: self.slot as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let sums = View::span(self.partials, self.slot, partials(self.x.len()));
        Ok(vec![read(1, "x", View::all(self.x)), write(2, "partials", sums)])
    }

    fn flops(&self) -> f64 {
        2.0 * self.x.len() as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let workgroup = 256;
        Ok(Plan {
            shader: "square_sum",
            constants: vec![("BLOCK", Constant::U32(BLOCK as u32)), ("WG", Constant::U32(workgroup))],
            workgroup,
            shared_bytes: 4 * workgroup,
            groups: grid(partials(self.x.len()), caps),
        })
    }
}
