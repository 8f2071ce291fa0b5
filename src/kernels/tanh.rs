//! Hyperbolic tangent.

use super::add::elementwise;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `tanh.wgsl`.
    pub struct TanhParams { n: u32 }
}

/// `y[i] = tanh(x[i])`. Its error is absolute, some roundings of 1.
///
/// # Shapes
/// x and y hold equally many elements.
#[derive(Clone, Copy, Debug)]
pub struct Tanh<'a> {
    pub x: &'a Tensor,
    pub y: &'a Tensor,
}

impl Kernel for Tanh<'_> {
    const NAME: &'static str = "tanh";
    type Params = TanhParams;

    fn params(&self) -> TanhParams {
        TanhParams { n: self.y.len() as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [x, y] = [self.x, self.y].map(|x| View::shaped(x, [self.y.len()]));
        Ok(vec![read(1, "x", x), write(2, "y", y)])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("tanh", self.y.len(), caps))
    }
}
