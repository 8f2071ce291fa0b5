//! A step of conjugate gradients along given directions.

use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, grid, read, write};
use crate::{Result, params};

/// What [`CgStep`] and [`super::cg_direction::CgDirection`] tell of every right-hand side.
pub const SCALARS: usize = 6;

params! {
    /// Uniforms of `cg_step.wgsl`.
    pub struct CgStepParams { rows: u32, m: u32, zero: u32 }
}

/// For every row: `alpha = (p r) / (p y)` with `y = A p`, then `x += alpha p`, `r -= alpha y` in pairs, and `z = r` rounded;
/// alpha and p y go to the first two of the row's scalars. `alpha = 0` where `p y` is not positive.
///
/// # Shapes
/// p and z [rows, m]; y, x and r [2, rows, m]: pairs, the first parts before the second; scalars [rows, [`SCALARS`]].
#[derive(Clone, Copy, Debug)]
pub struct CgStep<'a> {
    pub p: &'a Tensor,
    pub y: &'a Tensor,
    pub x: &'a Tensor,
    pub r: &'a Tensor,
    pub z: &'a Tensor,
    pub scalars: &'a Tensor,
}

/// Rows of m unknowns, as many as those of p.
pub(super) fn vectors<'a, const N: usize>(p: &Tensor, of: [&'a Tensor; N]) -> [View<'a>; N] {
    of.map(|x| View::shaped(x, [p.rows(), p.cols()]))
}

/// The same in pairs.
pub(super) fn pairs<'a, const N: usize>(p: &Tensor, of: [&'a Tensor; N]) -> [View<'a>; N] {
    of.map(|x| View::shaped(x, [2, p.rows(), p.cols()]))
}

/// [`SCALARS`] numbers for each row of p.
pub(super) fn scalars<'a>(p: &Tensor, of: &'a Tensor) -> View<'a> {
    View::shaped(of, [p.rows(), SCALARS])
}

/// A workgroup for each of `rows` rows, which passes `floats` numbers a thread through workgroup memory.
pub(super) fn plan_rows(shader: &'static str, rows: usize, floats: u32, caps: &Caps) -> Plan {
    let workgroup = 256;
    Plan {
        shader,
        constants: vec![("WG", Constant::U32(workgroup))],
        workgroup,
        shared_bytes: workgroup * floats * 4,
        groups: grid(rows, caps),
    }
}

impl Kernel for CgStep<'_> {
    const NAME: &'static str = "cg_step";
    type Params = CgStepParams;

    fn params(&self) -> CgStepParams {
        CgStepParams { rows: self.p.rows() as u32, m: self.p.cols() as u32, zero: 0 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [p, z] = vectors(self.p, [self.p, self.z]);
        let [y, x, r] = pairs(self.p, [self.y, self.x, self.r]);
        let scalars = write(6, "scalars", scalars(self.p, self.scalars));
        Ok(vec![read(1, "p", p), read(2, "y", y), write(3, "x", x), write(4, "r", r), write(5, "z", z), scalars])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(plan_rows("cg_step", self.p.rows(), 2, caps))
    }
}
