//! Products element by element.

use super::add::elementwise;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `multiply.wgsl`.
    pub struct MultiplyParams { n: u32, accumulate: u32 }
}

/// `y[i] (+)= a[i] b[i]`.
///
/// # Shapes
/// a, b and y hold equally many elements; a and b may be one tensor.
#[derive(Clone, Copy, Debug)]
pub struct Multiply<'a> {
    pub a: &'a Tensor,
    pub b: &'a Tensor,
    pub y: &'a Tensor,
    /// Adds to `y` instead of overwriting it.
    pub accumulate: bool,
}

impl Kernel for Multiply<'_> {
    const NAME: &'static str = "multiply";
    type Params = MultiplyParams;

    fn params(&self) -> MultiplyParams {
        MultiplyParams { n: self.y.len() as u32, accumulate: self.accumulate.into() }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [a, b, y] = [self.a, self.b, self.y].map(|x| View::shaped(x, [self.y.len()]));
        Ok(vec![read(1, "a", a), read(2, "b", b), write(3, "y", y)])
    }

    fn flops(&self) -> f64 {
        self.y.len() as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("multiply", self.y.len(), caps))
    }
}
