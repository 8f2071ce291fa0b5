//! Sums rows by label.

use super::add::elementwise;
use crate::device::{Bound, Caps, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Error, Result, cpu, params};

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
/// p [b, m], labels `[b]` of integers below c, q [2, c, m].
#[derive(Clone, Copy, Debug)]
pub struct LabelSum<'a> {
    pub p: &'a Tensor,
    pub labels: &'a Tensor,
    pub q: &'a Tensor,
}

impl<'a> LabelSum<'a> {
    /// # Errors
    /// [`Error::Shape`] where there is not one label for each row of p, or q's rows have another length.
    pub fn new(p: &'a Tensor, labels: &'a Tensor, q: &'a Tensor) -> Result<Self> {
        if labels.len() != p.rows() {
            return Err(Error::shape("label_sum", "labels", [p.rows()], labels.shape()));
        }
        if !matches!(q.shape(), &[2, _, m] if m == p.cols()) {
            return Err(Error::shape("label_sum", "q", format!("[2, c, {}]", p.cols()), q.shape()));
        }
        Ok(Self { p, labels, q })
    }
}

impl Kernel for LabelSum<'_> {
    const NAME: &'static str = "label_sum";
    type Params = LabelSumParams;

    fn params(&self) -> LabelSumParams {
        let classes = self.q.shape()[1] as u32;
        LabelSumParams { rows: self.p.rows() as u32, cols: self.p.cols() as u32, classes, zero: 0 }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.p), read(2, self.labels), write(3, self.q)]
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("label_sum", self.p.cols(), caps))
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::label_sum::label_sum(self, io);
    }
}
