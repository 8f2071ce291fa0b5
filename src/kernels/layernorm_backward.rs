//! Gradient of layer normalisation with respect to its input.

use super::layernorm::{row_a_lane, rowwise};
use crate::device::{Bound, Caps, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Error, Result, cpu, params};

params! {
    /// Uniforms of `layernorm_backward.wgsl`.
    pub struct LayerNormBackwardParams {
        rows: u32,
        cols: u32,
        accumulate: u32,
    }
}

/// `dx (+)= rstd (g - mean(g) - xhat mean(g xhat))`, `g = dy gamma`, `xhat = (x - mean) rstd`, means over each row.
///
/// # Shapes
/// x, dy and dx [.., d], gamma `[d]`, stats [rows, 2] as [`super::layernorm::LayerNorm`] wrote them.
#[derive(Clone, Copy, Debug)]
pub struct LayerNormBackward<'a> {
    pub x: &'a Tensor,
    pub gamma: &'a Tensor,
    pub stats: &'a Tensor,
    pub dy: &'a Tensor,
    pub dx: &'a Tensor,
    /// Adds to `dx` instead of overwriting it.
    pub accumulate: bool,
}

impl<'a> LayerNormBackward<'a> {
    /// Overwrites `dx`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the sizes do not fit together.
    pub fn new(x: &'a Tensor, gamma: &'a Tensor, stats: &'a Tensor, dy: &'a Tensor, dx: &'a Tensor) -> Result<Self> {
        let op = "layernorm_backward";
        if gamma.len() != x.cols() {
            return Err(Error::shape(op, "gamma", [x.cols()], gamma.shape()));
        }
        if stats.len() != 2 * x.rows() {
            return Err(Error::shape(op, "stats", [x.rows(), 2], stats.shape()));
        }
        for (name, tensor) in [("dy", dy), ("dx", dx)] {
            if (tensor.rows(), tensor.cols()) != (x.rows(), x.cols()) {
                return Err(Error::shape(op, name, x.shape(), tensor.shape()));
            }
        }
        Ok(Self { x, gamma, stats, dy, dx, accumulate: false })
    }
}

impl Kernel for LayerNormBackward<'_> {
    const NAME: &'static str = "layernorm_backward";
    type Params = LayerNormBackwardParams;

    fn params(&self) -> LayerNormBackwardParams {
        LayerNormBackwardParams {
            rows: self.x.rows() as u32,
            cols: self.x.cols() as u32,
            accumulate: self.accumulate.into(),
        }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.x), read(2, self.gamma), read(3, self.stats), read(4, self.dy), write(5, self.dx)]
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let shape = [self.x.rows(), self.x.cols()];
        let rows = row_a_lane("layernorm_backward_rows", shape, caps);
        Ok(rows.unwrap_or_else(|| rowwise(Self::NAME, shape, 8, caps)))
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::layernorm_backward::layernorm_backward(self, io);
    }
}
