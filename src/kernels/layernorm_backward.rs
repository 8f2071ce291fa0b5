//! Gradient of layer normalisation with respect to its input.

use super::layernorm::by_form;
use crate::device::{Caps, Form, Kernel, Operand, Plan, PlanKey, Tensor, Varied, View, read, write};
use crate::{Result, params};

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

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let shape = [self.x.rows(), self.x.cols()];
        Ok(vec![
            read(1, "x", View::shaped(self.x, shape)),
            read(2, "gamma", View::shaped(self.gamma, [shape[1]])),
            read(3, "stats", View::shaped(self.stats, [2 * shape[0]])),
            read(4, "dy", View::shaped(self.dy, shape)),
            write(5, "dx", View::shaped(self.dx, shape)),
        ])
    }

    fn key(&self) -> Option<PlanKey> {
        Some([self.x.rows(), self.x.cols(), 0, 0, 0, 0])
    }

    fn flops(&self) -> f64 {
        // The normalised row, two means, and what is made of them.
        11.0 * self.x.len() as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        self.chosen(caps)
    }
}

impl Varied for LayerNormBackward<'_> {
    varied_by_form!();

    fn planned(&self, form: Form, caps: &Caps) -> Option<Plan> {
        by_form(Self::NAME, "layernorm_backward_rows", form, self.x, 8, caps)
    }

    fn class(&self) -> &'static str {
        ""
    }

    fn size(&self) -> Vec<usize> {
        vec![self.x.rows(), self.x.cols()]
    }
}
