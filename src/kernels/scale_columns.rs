//! Columns times numbers of their own.

use super::add::elementwise;
use crate::device::{Bound, Caps, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Error, Result, cpu, params};

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

impl<'a> ScaleColumns<'a> {
    /// # Errors
    /// [`Error::Shape`] where the sizes differ.
    pub fn new(x: &'a Tensor, scale: &'a Tensor, y: &'a Tensor) -> Result<Self> {
        if scale.len() != x.cols() {
            return Err(Error::shape("scale_columns", "scale", [x.cols()], scale.shape()));
        }
        if x.shape() != y.shape() {
            return Err(Error::shape("scale_columns", "y", x.shape(), y.shape()));
        }
        Ok(Self { x, scale, y })
    }
}

impl Kernel for ScaleColumns<'_> {
    const NAME: &'static str = "scale_columns";
    type Params = ScaleColumnsParams;

    fn params(&self) -> ScaleColumnsParams {
        ScaleColumnsParams { n: self.x.len() as u32, cols: self.x.cols() as u32 }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.x), read(2, self.scale), write(3, self.y)]
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("scale_columns", self.x.len(), caps))
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::scale_columns::scale_columns(self, io);
    }
}
