//! Gradients of numbers divided by the roots of others.

use super::add::elementwise;
use super::row_unit::LEAST;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `root_ratio_backward.wgsl`.
    pub struct RootRatioBackwardParams { n: u32, least: f32 }
}

/// `dx[i] = dy[i] / max(sqrt(s[i]), 1e-12)`, `ds[i] = -dy[i] y[i] / (2 s[i])`, 0 where the root was raised to 1e-12.
///
/// # Shapes
/// All hold equally many elements; s and y as [`super::root_ratio::RootRatio`] had them.
#[derive(Clone, Copy, Debug)]
pub struct RootRatioBackward<'a> {
    pub s: &'a Tensor,
    pub y: &'a Tensor,
    pub dy: &'a Tensor,
    pub dx: &'a Tensor,
    pub ds: &'a Tensor,
}

impl Kernel for RootRatioBackward<'_> {
    const NAME: &'static str = "root_ratio_backward";
    type Params = RootRatioBackwardParams;

    fn params(&self) -> RootRatioBackwardParams {
        RootRatioBackwardParams { n: self.y.len() as u32, least: LEAST as f32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [s, y, dy, dx, ds] = [self.s, self.y, self.dy, self.dx, self.ds].map(|x| View::shaped(x, [self.y.len()]));
        Ok(vec![read(1, "s", s), read(2, "y", y), read(3, "dy", dy), write(4, "dx", dx), write(5, "ds", ds)])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("root_ratio_backward", self.y.len(), caps))
    }
}
