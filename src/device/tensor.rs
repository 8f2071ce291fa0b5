//! Tensors: a shape and an element type over a buffer of one device.

use std::sync::Arc;

use super::buffer::Buffer;

/// Element type of a tensor on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// f32 on a GPU; the CPU device's own precision (f32, or f64 for the oracle) on the CPU.
    Real,
    /// Halves packed in pairs into u32 words on a GPU; kept as `Real` on the CPU device.
    F16,
    /// Unsigned integers of 32 bits, on every device.
    U32,
}

/// A dense row-major array on a device. Clones share the buffer; the last one returns it to the pool.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub(super) buffer: Arc<Buffer>,
    shape: Vec<usize>,
    dtype: DType,
    whole: usize,
}

impl Tensor {
    pub(super) fn new(buffer: Arc<Buffer>, shape: &[usize], dtype: DType) -> Self {
        Self { buffer, shape: shape.to_vec(), dtype, whole: shape.iter().product() }
    }

    /// Its dimensions; elements of the last one are neighbours.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of the allocation that it is in.
    pub fn bytes(&self) -> u64 {
        self.buffer.bytes()
    }

    /// Whether a dimension is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type of its elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Length of the last dimension.
    pub fn cols(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Product of all dimensions but the last.
    pub fn rows(&self) -> usize {
        self.shape.iter().rev().skip(1).product()
    }

    /// The same elements under another shape of equal size.
    pub fn reshape(&self, shape: &[usize]) -> Self {
        assert_eq!(self.len(), shape.iter().product::<usize>(), "reshape keeps the number of elements");
        Self { shape: shape.to_vec(), ..self.clone() }
    }

    /// The same buffer under the shape `[n]`, which may reach beyond this view but not beyond the allocation it came from.
    pub fn extended(&self, n: usize) -> Self {
        assert!(n <= self.whole, "an extension stays inside its allocation");
        Self { shape: vec![n], ..self.clone() }
    }

    /// Elements of the tensor that this view is a prefix of.
    pub fn whole(&self) -> usize {
        self.whole
    }

    /// The leading elements under another, smaller shape.
    pub fn prefix(&self, shape: &[usize]) -> Self {
        assert!(self.len() >= shape.iter().product::<usize>(), "a prefix is not longer than its tensor");
        Self { shape: shape.to_vec(), ..self.clone() }
    }

    /// Identity of the buffer: equal for clones and reshapes, different for any two live allocations.
    pub fn id(&self) -> usize {
        Arc::as_ptr(&self.buffer) as usize
    }
}
