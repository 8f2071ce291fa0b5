//! Sums rows by label.

use super::add::elementwise;
use crate::device::{Caps, DType, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Error, Result, params};

params! {
    /// Uniforms of `label_sum.wgsl`.
    pub struct LabelSumParams {
        rows: u32,
        cols: u32,
        classes: u32,
        zero: u32,
    }
}

/// `q[labels[b]] += p[b]`, over b in order: `Q += Y^T P` for one-hot rows Y, without making them. q holds pairs, the first
/// parts before the second: rounding errors of the first parts are summed in the second.
///
/// # Shapes
/// p [b, m], labels `[b]`, q [2, c, m]. Rows whose label is not below c are left out.
#[derive(Clone, Copy, Debug)]
pub struct LabelSum<'a> {
    pub p: &'a Tensor,
    pub labels: &'a Tensor,
    pub q: &'a Tensor,
}

impl Kernel for LabelSum<'_> {
    const NAME: &'static str = "label_sum";
    type Params = LabelSumParams;

    fn params(&self) -> LabelSumParams {
        let classes = self.q.shape()[1] as u32;
        LabelSumParams { rows: self.p.rows() as u32, cols: self.p.cols() as u32, classes, zero: 0 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let (b, m) = (self.p.rows(), self.p.cols());
        let &[2, classes, _] = self.q.shape() else {
            return Err(Error::shape(Self::NAME, "q", format!("[2, c, {m}]"), self.q.shape()));
        };
        Ok(vec![
            read(1, "p", View::all(self.p)),
            read(2, "labels", View::shaped(self.labels, [b])).of(DType::U32),
            write(3, "q", View::shaped(self.q, [2, classes, m])),
        ])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("label_sum", self.p.cols(), caps))
    }
}
