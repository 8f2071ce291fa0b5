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

#[cfg(test)]
mod tests {
    use crate::Error;
    use crate::device::{DType, Device, Precision};
    use crate::kernels::add::Add;

    #[test]
    fn threads_with_crossed_operands_do_not_wait_for_each_other() {
        let device = Device::cpu(Precision::F32);
        let (a, b) = (device.zeros(&[64]).unwrap(), device.zeros(&[64]).unwrap());
        let (done, waiting) = std::sync::mpsc::channel();
        for (x, y) in [(a.clone(), b.clone()), (b, a)] {
            let (device, done) = (device.clone(), done.clone());
            std::thread::spawn(move || {
                for _ in 0..20_000 {
                    device.run(&Add { x: &x, y: &y }).unwrap();
                    device.copy(&x, 0, &y, 0, 64).unwrap();
                }
                done.send(()).unwrap();
            });
        }
        for _ in 0..2 {
            waiting.recv_timeout(std::time::Duration::from_secs(60)).expect("the threads wait for each other");
        }
    }

    #[test]
    fn a_tensor_is_not_read_and_written_at_once() {
        let device = Device::cpu(Precision::F32);
        let x = device.zeros(&[8]).unwrap();
        assert!(matches!(device.run(&Add { x: &x, y: &x }), Err(Error::Aliasing { .. })));
        assert!(matches!(device.copy(&x, 0, &x, 4, 4), Err(Error::Aliasing { .. })));
    }

    #[test]
    fn element_types_are_known_to_copies_and_reads() {
        let device = Device::cpu(Precision::F32);
        let (reals, words) = (device.zeros(&[8]).unwrap(), device.empty(&[8], DType::U32).unwrap());
        assert!(matches!(device.copy(&reals, 0, &words, 0, 8), Err(Error::DType { .. })));
        assert!(matches!(device.write(&words, &[0.0f32; 8]), Err(Error::DType { .. })));
        assert!(matches!(pollster::block_on(device.read::<f32>(&words)), Err(Error::DType { .. })));
        assert!(matches!(pollster::block_on(device.read_u32(&reals)), Err(Error::DType { .. })));
        assert!(matches!(
            device.copy(&reals, 4, &device.zeros(&[8]).unwrap(), 0, 5),
            Err(Error::Shape { arg: "from", .. })
        ));
    }
}
