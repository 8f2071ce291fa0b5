//! Cross-entropy of a batch and its gradient.

use crate::device::{Caps, Constant, DType, DeviceClass, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `cross_entropy.wgsl`.
    pub struct CrossEntropyParams {
        rows: u32,
        cols: u32,
        slot: u32,
        batch: u32,
        accumulate: u32,
    }
}

/// `loss[slot] = sum_b (logsumexp(logits[b]) - logits[b][labels[b]]) / B`,
/// `dlogits = (softmax(logits) - onehot(labels)) / B`, for all images of a batch of B or for a part of them, whose sum is then
/// added to what stands in `loss[slot]`.
///
/// # Shapes
/// logits and dlogits [b, c], labels `[b]`, loss any length above slot. An empty batch writes nothing. A row whose label
/// is not below c adds nothing to the loss and has no gradient; it counts as one of the B.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy<'a> {
    pub logits: &'a Tensor,
    pub labels: &'a Tensor,
    pub loss: &'a Tensor,
    /// Element of `loss` that is written.
    pub slot: usize,
    /// Images of the whole batch, B.
    pub batch: usize,
    /// Whether the loss is added to that of earlier parts.
    pub accumulate: bool,
    pub dlogits: &'a Tensor,
}

impl Kernel for CrossEntropy<'_> {
    const NAME: &'static str = "cross_entropy";
    type Params = CrossEntropyParams;

    fn params(&self) -> CrossEntropyParams {
        CrossEntropyParams {
            rows: self.logits.rows() as u32,
            cols: self.logits.cols() as u32,
            slot: self.slot as u32,
            batch: self.batch as u32,
            accumulate: u32::from(self.accumulate),
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let shape = [self.logits.rows(), self.logits.cols()];
        Ok(vec![
            read(1, "logits", View::shaped(self.logits, shape)),
            read(2, "labels", View::shaped(self.labels, [shape[0]])).of(DType::U32),
            write(3, "loss", View::span(self.loss, self.slot, 1)),
            write(4, "dlogits", View::shaped(self.dlogits, shape)),
        ])
    }

    /// Short rows take few lanes, so that more of them go at once.
    fn flops(&self) -> f64 {
        6.0 * self.logits.len() as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let lanes = match caps.class {
            DeviceClass::SoftwareGpu => 1,
            _ if self.logits.cols() <= 256 => 8,
            _ => 32,
        };
        let workgroup = 256;
        Ok(Plan {
            shader: "cross_entropy",
            constants: vec![("LANES", Constant::U32(lanes)), ("WG", Constant::U32(workgroup))],
            workgroup,
            shared_bytes: 4 * workgroup,
            groups: [u32::from(!self.logits.is_empty()), 1, 1],
        })
    }
}
