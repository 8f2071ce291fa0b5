//! Cross-entropy of a batch and its gradient.

use crate::device::{Bound, Caps, Constant, DeviceClass, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Error, Result, cpu, params};

params! {
    /// Uniforms of `cross_entropy.wgsl`.
    pub struct CrossEntropyParams {
        rows: u32,
        cols: u32,
        slot: u32,
    }
}

/// `loss[slot] = mean_b (logsumexp(logits[b]) - logits[b][labels[b]])`,
/// `dlogits = (softmax(logits) - onehot(labels)) / B`.
///
/// # Shapes
/// logits and dlogits [b, c], labels `[b]` of integers below c, loss any length above slot. An empty batch writes nothing.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy<'a> {
    pub logits: &'a Tensor,
    pub labels: &'a Tensor,
    pub loss: &'a Tensor,
    /// Element of `loss` that is written.
    pub slot: usize,
    pub dlogits: &'a Tensor,
}

impl<'a> CrossEntropy<'a> {
    /// # Errors
    /// [`Error::Shape`] where the sizes do not fit together.
    pub fn new(
        logits: &'a Tensor,
        labels: &'a Tensor,
        loss: &'a Tensor,
        slot: usize,
        dlogits: &'a Tensor,
    ) -> Result<Self> {
        if labels.len() != logits.rows() {
            return Err(Error::shape("cross_entropy", "labels", [logits.rows()], labels.shape()));
        }
        if (dlogits.rows(), dlogits.cols()) != (logits.rows(), logits.cols()) {
            return Err(Error::shape("cross_entropy", "dlogits", logits.shape(), dlogits.shape()));
        }
        if slot >= loss.len() {
            return Err(Error::shape("cross_entropy", "loss", format!("more than {slot} slots"), loss.shape()));
        }
        Ok(Self { logits, labels, loss, slot, dlogits })
    }
}

impl Kernel for CrossEntropy<'_> {
    const NAME: &'static str = "cross_entropy";
    type Params = CrossEntropyParams;

    fn params(&self) -> CrossEntropyParams {
        CrossEntropyParams { rows: self.logits.rows() as u32, cols: self.logits.cols() as u32, slot: self.slot as u32 }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.logits), read(2, self.labels), write(3, self.loss), write(4, self.dlogits)]
    }

    /// Short rows take few lanes, so that more of them go at once.
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

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::cross_entropy::cross_entropy(self, io);
    }
}
