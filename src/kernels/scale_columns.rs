//! Columns times numbers of their own.

use super::add::elementwise;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `scale_columns.wgsl`.
    pub struct ScaleColumnsParams { n: u32, cols: u32 }
}

/// `y[i][j] = x[i][j] scale[j]`.
///
/// # Shapes
/// x and y [rows, cols], scale `[cols]`.
#[derive(Clone, Copy, Debug)]
pub struct ScaleColumns<'a> {
    pub x: &'a Tensor,
    pub scale: &'a Tensor,
    pub y: &'a Tensor,
}

impl Kernel for ScaleColumns<'_> {
    const NAME: &'static str = "scale_columns";
    type Params = ScaleColumnsParams;

    fn params(&self) -> ScaleColumnsParams {
        ScaleColumnsParams { n: self.x.len() as u32, cols: self.x.cols() as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let shape = [self.x.rows(), self.x.cols()];
        Ok(vec![
            read(1, "x", View::shaped(self.x, shape)),
            read(2, "scale", View::shaped(self.scale, [shape[1]])),
            write(3, "y", View::shaped(self.y, shape)),
        ])
    }

    fn flops(&self) -> f64 {
        self.y.len() as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("scale_columns", self.x.len(), caps))
    }
}
