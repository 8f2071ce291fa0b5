//! The largest entries of rows, as rows of an identity matrix: a product with them picks rows of a table.

use super::add::elementwise;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Error, Result, params};

params! {
    /// Uniforms of `top_k.wgsl`.
    pub struct TopKParams { n: u32, cols: u32, k: u32 }
}

/// `hot[r][j][i] = 1` where `x[r][i]` is the j-th largest entry of its row, counted from 0, else 0. Of equal entries the
/// first is larger; rows with NaN choose nothing that means anything.
///
/// # Shapes
/// x [rows, n], hot [rows, k, n] for any k; rows j >= n of hot are zero.
#[derive(Clone, Copy, Debug)]
pub struct TopK<'a> {
    pub x: &'a Tensor,
    pub hot: &'a Tensor,
}

impl TopK<'_> {
    fn k(&self) -> usize {
        self.hot.shape().get(1).copied().unwrap_or(0)
    }
}

impl Kernel for TopK<'_> {
    const NAME: &'static str = "top_k";
    type Params = TopKParams;

    fn params(&self) -> TopKParams {
        TopKParams { n: self.x.len() as u32, cols: self.x.cols() as u32, k: self.k() as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let (rows, cols) = (self.x.rows(), self.x.cols());
        if self.hot.shape() != [rows, self.k(), cols] {
            return Err(Error::shape("top_k", "hot", format!("[{rows}, k, {cols}]"), self.hot.shape()));
        }
        Ok(vec![read(1, "x", View::all(self.x)), write(2, "hot", View::all(self.hot))])
    }

    fn flops(&self) -> f64 {
        (self.x.len() * self.x.cols()) as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("top_k", self.x.len(), caps))
    }
}
