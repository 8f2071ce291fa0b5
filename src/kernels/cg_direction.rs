//! Next directions of conjugate gradients.

use super::cg_step::{check, plan_rows};
use crate::device::{Bound, Caps, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Result, cpu, params};

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

impl CgDirection<'_> {
    /// The same, its shapes checked.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] where they do not fit together.
    pub fn checked(self) -> Result<Self> {
        check("cg_direction", self.p, self.z, [self.y, self.x, self.r], self.scalars).map(|()| self)
    }
}

impl Kernel for CgDirection<'_> {
    const NAME: &'static str = "cg_direction";
    type Params = CgDirectionParams;

    fn params(&self) -> CgDirectionParams {
        CgDirectionParams { rows: self.p.rows() as u32, m: self.p.cols() as u32 }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        let inputs = [read(1, self.z), read(2, self.y), read(3, self.x), read(4, self.r)];
        inputs.into_iter().chain([write(5, self.p), write(6, self.scalars)]).collect()
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(plan_rows("cg_direction", self.p.rows(), 4, caps))
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::cg_direction::cg_direction(self, io);
    }
}
