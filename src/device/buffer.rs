//! Buffers and the pool they return to, with the count of bytes in use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock, Weak};

use super::{Inner, Real};

/// Host storage of the CPU device.
#[derive(Debug)]
pub(super) enum Storage {
    F32(Vec<f32>),
    F64(Vec<f64>),
    U32(Vec<u32>),
}

/// Memory behind a tensor.
#[derive(Debug)]
pub(super) enum Raw {
    Gpu(wgpu::Buffer),
    Cpu(RwLock<Storage>),
}

/// A device allocation; dropping it gives its memory back to the pool.
#[derive(Debug)]
pub(super) struct Buffer {
    raw: Option<Raw>,
    key: PoolKey,
    owner: Weak<Inner>,
}

/// Allocations of one kind and size are interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PoolKey {
    pub bytes: u64,
    pub kind: u8,
}

#[derive(Debug, Default)]
struct PoolState {
    free: HashMap<PoolKey, Vec<Raw>>,
    in_use: u64,
    peak: u64,
    pooled: u64,
}

/// Free buffers by size, and the bytes that live tensors hold.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<PoolState>);

impl Pool {
    /// Takes a free buffer of this kind, or makes one; nothing where there is no memory.
    pub fn take(&self, owner: &Arc<Inner>, key: PoolKey, make: impl FnOnce() -> Option<Raw>) -> Option<Arc<Buffer>> {
        let found = {
            let mut pool = self.0.lock().expect("pool");
            pool.in_use += key.bytes;
            let found = pool.free.get_mut(&key).and_then(Vec::pop);
            if found.is_some() {
                pool.pooled -= key.bytes;
            }
            pool.peak = pool.peak.max(pool.in_use + pool.pooled);
            found
        };
        let Some(raw) = found.or_else(make) else {
            self.0.lock().expect("pool").in_use -= key.bytes;
            return None;
        };
        Some(Arc::new(Buffer { raw: Some(raw), key, owner: Arc::downgrade(owner) }))
    }

    /// Bytes held by live tensors.
    pub fn in_use(&self) -> u64 {
        self.0.lock().expect("pool").in_use
    }

    /// Most bytes ever held, live and pooled.
    pub fn peak(&self) -> u64 {
        self.0.lock().expect("pool").peak
    }

    /// Frees what no tensor uses.
    pub fn trim(&self) {
        let mut pool = self.0.lock().expect("pool");
        pool.free.clear();
        pool.pooled = 0;
    }

    fn give_back(&self, key: PoolKey, raw: Raw) {
        let mut pool = self.0.lock().expect("pool");
        pool.in_use -= key.bytes;
        pool.pooled += key.bytes;
        pool.free.entry(key).or_default().push(raw);
    }
}

impl Buffer {
    pub fn gpu(&self) -> &wgpu::Buffer {
        match self.raw.as_ref() {
            Some(Raw::Gpu(buffer)) => buffer,
            _ => unreachable!("a GPU queue met a CPU tensor"),
        }
    }

    pub fn cpu(&self) -> &RwLock<Storage> {
        match self.raw.as_ref() {
            Some(Raw::Cpu(storage)) => storage,
            _ => unreachable!("the CPU device met a GPU tensor"),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let (Some(raw), Some(owner)) = (self.raw.take(), self.owner.upgrade()) {
            owner.pool.give_back(self.key, raw);
        }
    }
}

/// Precision-specific access to host storage.
pub(super) trait Stored: Real {
    fn slice(storage: &Storage) -> &[Self];
    fn slice_mut(storage: &mut Storage) -> &mut [Self];
}

macro_rules! stored {
    ($real:ty, $variant:ident) => {
        impl Stored for $real {
            fn slice(storage: &Storage) -> &[Self] {
                match storage {
                    Storage::$variant(data) => data,
                    _ => unreachable!("storage of another type"),
                }
            }
            fn slice_mut(storage: &mut Storage) -> &mut [Self] {
                match storage {
                    Storage::$variant(data) => data,
                    _ => unreachable!("storage of another type"),
                }
            }
        }
    };
}
stored!(f32, F32);
stored!(f64, F64);
