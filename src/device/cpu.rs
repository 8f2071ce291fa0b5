//! The CPU device: a dispatch calls the kernel's twin at once, on host storage.

use std::sync::{RwLockReadGuard, RwLockWriteGuard};

use super::buffer::{Storage, Stored};
use super::kernel::{Access, Bound, In, Io, Kernel, Out};
use super::tensor::DType;
use crate::Result;

/// Precision of the CPU device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// The device that programs use.
    F32,
    /// The oracle that judges kernels and golden runs.
    F64,
}

/// Zeroed storage for `n` elements, or nothing where the host has not the memory.
pub(super) fn storage(dtype: DType, precision: Precision, n: usize) -> Option<Storage> {
    // Memory that the system gives as zeros takes up room when it is first touched.
    fn zeros<T: bytemuck::Zeroable>(n: usize) -> Option<Vec<T>> {
        bytemuck::try_zeroed_vec(n).ok()
    }
    Some(match (dtype, precision) {
        (DType::U32, _) => Storage::U32(zeros(n)?),
        (_, Precision::F32) => Storage::F32(zeros(n)?),
        (_, Precision::F64) => Storage::F64(zeros(n)?),
    })
}

/// Locks the operands of `kernel` and runs its twin.
pub(super) fn run<R: Stored, K: Kernel>(kernel: &K) -> Result<()> {
    let bound = kernel.tensors();
    let (reads, writes): (Vec<&Bound<'_>>, Vec<&Bound<'_>>) = bound.iter().partition(|b| b.access == Access::Read);
    let reads: Vec<(RwLockReadGuard<'_, Storage>, usize)> =
        reads.iter().map(|b| (b.tensor.buffer.cpu().read().expect("storage"), b.tensor.len())).collect();
    let mut writes: Vec<(RwLockWriteGuard<'_, Storage>, usize)> =
        writes.iter().map(|b| (b.tensor.buffer.cpu().write().expect("storage"), b.tensor.len())).collect();
    let ins = reads
        .iter()
        .map(|(storage, n)| match &**storage {
            Storage::U32(data) => In::U32(&data[..*n]),
            other => In::Real(&R::slice(other)[..*n]),
        })
        .collect();
    let outs = writes
        .iter_mut()
        .map(|(storage, n)| match &mut **storage {
            Storage::U32(data) => Out::U32(&mut data[..*n]),
            other => Out::Real(&mut R::slice_mut(other)[..*n]),
        })
        .collect();
    kernel.twin(Io { ins, outs });
    Ok(())
}
