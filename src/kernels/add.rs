//! Sum in place: `y += x`.

use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, grid, read, write};
use crate::{Result, params};

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

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [x, y] = [self.x, self.y].map(|x| View::shaped(x, [self.y.len()]));
        Ok(vec![read(1, "x", x), write(2, "y", y)])
    }

    fn flops(&self) -> f64 {
        self.y.len() as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("add", self.y.len(), caps))
    }
}
