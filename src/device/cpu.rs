//! The CPU device: a dispatch calls the kernel's twin at once, on host storage.

use std::sync::{RwLockReadGuard, RwLockWriteGuard};

use super::buffer::{Storage, Stored};
use super::kernel::{Access, In, Io, Out, Twin};
use super::tensor::DType;
use super::view::Operand;

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

/// A locked tensor.
enum Guard<'a> {
    Read(RwLockReadGuard<'a, Storage>),
    Write(RwLockWriteGuard<'a, Storage>),
}

/// Locks the checked operands of `kernel` and runs its twin. Locks are taken in one order whatever the kernel, so that
/// threads with crossed operands do not wait for each other, and a tensor that is read twice is locked once.
pub(super) fn run<R: Stored, K: Twin>(kernel: &K, operands: &[Operand<'_>]) {
    let mut wanted: Vec<_> = operands.iter().map(|o| (o.view.tensor, o.access)).collect();
    wanted.sort_by_key(|w| w.0.id());
    wanted.dedup_by_key(|w| w.0.id());
    let mut guards: Vec<(usize, Guard<'_>)> = wanted
        .into_iter()
        .map(|(tensor, access)| {
            let lock = tensor.buffer.cpu();
            let guard = match access {
                Access::Read => Guard::Read(lock.read().expect("storage")),
                Access::Write => Guard::Write(lock.write().expect("storage")),
            };
            (tensor.id(), guard)
        })
        .collect();
    let mut outs = Vec::new();
    let mut shared = Vec::new();
    for (id, guard) in &mut guards {
        match guard {
            Guard::Read(storage) => shared.push((*id, &**storage)),
            Guard::Write(storage) => {
                let at = operands.iter().position(|o| o.view.tensor.id() == *id).expect("locked for an operand");
                let n = operands[at].view.tensor.len();
                outs.push(match &mut **storage {
                    Storage::U32(data) => (at, Out::U32(&mut data[..n])),
                    other => (at, Out::Real(&mut R::slice_mut(other)[..n])),
                });
            }
        }
    }
    outs.sort_by_key(|out| out.0);
    let ins = operands.iter().filter(|o| o.access == Access::Read).map(|o| {
        let (id, n) = (o.view.tensor.id(), o.view.tensor.len());
        match shared.iter().find(|s| s.0 == id).expect("locked for it").1 {
            Storage::U32(data) => In::U32(&data[..n]),
            other => In::Real(&R::slice(other)[..n]),
        }
    });
    let ins = ins.collect();
    kernel.twin(Io { ins, outs: outs.into_iter().map(|out| out.1).collect() });
}
