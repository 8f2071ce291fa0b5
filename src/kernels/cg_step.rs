//! A step of conjugate gradients along given directions.

use crate::device::{Bound, Caps, Constant, Io, Kernel, Plan, Real, Tensor, grid, read, write};
use crate::{Error, Result, cpu, params};

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

/// Refuses tensors that are not those of `rows` systems in `m` unknowns.
pub(super) fn check(op: &'static str, p: &Tensor, z: &Tensor, pairs: [&Tensor; 3], scalars: &Tensor) -> Result<()> {
    let (rows, m) = (p.rows(), p.cols());
    if z.shape() != [rows, m] {
        return Err(Error::shape(op, "z", [rows, m], z.shape()));
    }
    for (name, tensor) in ["y", "x", "r"].into_iter().zip(pairs) {
        if tensor.shape() != [2, rows, m] {
            return Err(Error::shape(op, name, [2, rows, m], tensor.shape()));
        }
    }
    if scalars.shape() != [rows, SCALARS] {
        return Err(Error::shape(op, "scalars", [rows, SCALARS], scalars.shape()));
    }
    Ok(())
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

impl CgStep<'_> {
    /// The same, its shapes checked.
    ///
    /// # Errors
    /// [`Error::Shape`] where they do not fit together.
    pub fn checked(self) -> Result<Self> {
        check("cg_step", self.p, self.z, [self.y, self.x, self.r], self.scalars).map(|()| self)
    }
}

impl Kernel for CgStep<'_> {
    const NAME: &'static str = "cg_step";
    type Params = CgStepParams;

    fn params(&self) -> CgStepParams {
        CgStepParams { rows: self.p.rows() as u32, m: self.p.cols() as u32, zero: 0 }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        let outs = [write(3, self.x), write(4, self.r), write(5, self.z), write(6, self.scalars)];
        [read(1, self.p), read(2, self.y)].into_iter().chain(outs).collect()
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(plan_rows("cg_step", self.p.rows(), 2, caps))
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::cg_step::cg_step(self, io);
    }
}
