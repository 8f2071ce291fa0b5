//! Numbers divided by the roots of others: cosines from products and squared lengths.

use super::add::elementwise;
use super::row_unit::LEAST;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `root_ratio.wgsl`.
    pub struct RootRatioParams { n: u32, least: f32 }
}

/// `y[i] = x[i] / max(sqrt(s[i]), 1e-12)`, as [`super::row_unit::RowUnit`] divides by a length whose square is s.
///
/// # Shapes
/// x, s and y hold equally many elements; none of s is negative.
#[derive(Clone, Copy, Debug)]
pub struct RootRatio<'a> {
    pub x: &'a Tensor,
    pub s: &'a Tensor,
    pub y: &'a Tensor,
}

impl Kernel for RootRatio<'_> {
    const NAME: &'static str = "root_ratio";
    type Params = RootRatioParams;

    fn params(&self) -> RootRatioParams {
        RootRatioParams { n: self.y.len() as u32, least: LEAST as f32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [x, s, y] = [self.x, self.s, self.y].map(|x| View::shaped(x, [self.y.len()]));
        Ok(vec![read(1, "x", x), read(2, "s", s), write(3, "y", y)])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("root_ratio", self.y.len(), caps))
    }
}
