//! Sum in place: `y += x`.

use crate::device::{Bound, Caps, Constant, Io, Kernel, Plan, Real, Tensor, grid, read, write};
use crate::{Error, Result, cpu, params};

params! {
    /// Uniforms of `add.wgsl`.
    pub struct AddParams {
        n: u32,
    }
}

/// `y[i] += x[i]`.
///
/// # Shapes
/// x and y hold equally many elements.
#[derive(Clone, Copy, Debug)]
pub struct Add<'a> {
    pub x: &'a Tensor,
    pub y: &'a Tensor,
}

impl<'a> Add<'a> {
    /// # Errors
    /// [`Error::Shape`] where the sizes differ.
    pub fn new(x: &'a Tensor, y: &'a Tensor) -> Result<Self> {
        if x.len() != y.len() {
            return Err(Error::shape("add", "y", x.shape(), y.shape()));
        }
        Ok(Self { x, y })
    }
}

/// Plan of a kernel that gives each of `n` elements a thread of its own.
pub(super) fn elementwise(shader: &'static str, n: usize, caps: &Caps) -> Plan {
    let workgroup = 256;
    Plan {
        shader,
        constants: vec![("WG", Constant::U32(workgroup))],
        workgroup,
        shared_bytes: 0,
        groups: grid(n.div_ceil(workgroup as usize), caps),
    }
}

impl Kernel for Add<'_> {
    const NAME: &'static str = "add";
    type Params = AddParams;

    fn params(&self) -> AddParams {
        AddParams { n: self.y.len() as u32 }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.x), write(2, self.y)]
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("add", self.y.len(), caps))
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::add::add(io);
    }
}
