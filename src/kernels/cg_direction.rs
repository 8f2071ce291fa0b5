//! Next directions of conjugate gradients.

use super::cg_step::{pairs, plan_rows, scalars, vectors};
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `cg_direction.wgsl`.
    pub struct CgDirectionParams { rows: u32, m: u32 }
}

/// For every row: `t = z + beta p` with `beta = -(z y) / (p y)`, `y = A p`, which makes t conjugate to p; then p becomes t in
/// units of a power of two, rounded to integers below 2^9 and 9 bits behind the point, as
/// [`super::pair_product::PairProduct`] needs it. `beta = 0` where `p y` is not positive, as at the start.
/// The row's last four scalars become `r r`, `z z`, `x x` and the inverse of the unit.
///
/// # Shapes
/// p and z [rows, m]; y, x and r [2, rows, m]: pairs of which the first parts count; scalars
/// [rows, [`super::cg_step::SCALARS`]], with p y at 1.
#[derive(Clone, Copy, Debug)]
pub struct CgDirection<'a> {
    pub z: &'a Tensor,
    pub y: &'a Tensor,
    pub x: &'a Tensor,
    pub r: &'a Tensor,
    pub p: &'a Tensor,
    pub scalars: &'a Tensor,
}

impl Kernel for CgDirection<'_> {
    const NAME: &'static str = "cg_direction";
    type Params = CgDirectionParams;

    fn params(&self) -> CgDirectionParams {
        CgDirectionParams { rows: self.p.rows() as u32, m: self.p.cols() as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [z, p] = vectors(self.p, [self.z, self.p]);
        let [y, x, r] = pairs(self.p, [self.y, self.x, self.r]);
        let inputs = [read(1, "z", z), read(2, "y", y), read(3, "x", x), read(4, "r", r)];
        let outs = [write(5, "p", p), write(6, "scalars", scalars(self.p, self.scalars))];
        Ok(inputs.into_iter().chain(outs).collect())
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(plan_rows("cg_direction", self.p.rows(), 4, caps))
    }
}
