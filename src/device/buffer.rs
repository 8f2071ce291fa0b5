//! Buffers and the pool they return to, with the count of bytes in use.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, RwLock, Weak};

use super::{Inner, Real};
use crate::Result;

/// Host storage of the CPU device.
#[derive(Debug)]
pub(super) enum Storage {
    F32(Vec<f32>),
    F64(Vec<f64>),
    U32(Vec<u32>),
}

/// Memory of a GPU, with a number that no other memory ever has.
#[derive(Debug)]
pub(super) struct Memory {
    pub buffer: wgpu::Buffer,
    pub id: u64,
}

/// Memory behind a tensor.
#[derive(Debug)]
pub(super) enum Raw {
    Gpu(Memory),
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

/// Free buffers in the order in which they were given back, and the bytes that live tensors hold.
#[derive(Debug, Default)]
struct PoolState {
    free: HashMap<PoolKey, VecDeque<(u64, Raw)>>,
    /// The kind of every free buffer by the time it was given back.
    age: BTreeMap<u64, PoolKey>,
    clock: u64,
    in_use: u64,
    peak_in_use: u64,
    /// Most bytes of live tensors since this was last asked for.
    recent_peak: u64,
    peak: u64,
    pooled: u64,
}

impl PoolState {
    /// The free buffer of this kind that was used last: its memory is the likeliest to be in a cache.
    fn newest(&mut self, key: PoolKey) -> Option<Raw> {
        let (time, raw) = self.free.get_mut(&key)?.pop_back()?;
        self.age.remove(&time);
        self.pooled -= key.bytes;
        Some(raw)
    }

    fn oldest(&mut self) -> Option<Raw> {
        let (_, key) = self.age.pop_first()?;
        self.pooled -= key.bytes;
        self.free.get_mut(&key)?.pop_front().map(|(_, raw)| raw)
    }

    fn hold(&mut self, bytes: u64) {
        self.in_use += bytes;
        self.peak_in_use = self.peak_in_use.max(self.in_use);
        self.recent_peak = self.recent_peak.max(self.in_use);
        self.peak = self.peak.max(self.in_use + self.pooled);
    }
}

/// Memory that tensors leave and others take up again.
///
/// The pool keeps at most as many bytes free as were ever in use at once, so that a device never holds more than twice
/// what its work needs; beyond that the buffers that have been free for longest go, down to three quarters of it.
#[derive(Debug)]
pub(super) struct Pool {
    state: Mutex<PoolState>,
    /// Most bytes that may be held, live and free.
    limit: u64,
}

impl Pool {
    pub fn new(limit: u64) -> Self {
        Self { state: Mutex::default(), limit }
    }

    /// Takes a free buffer of this kind, or makes one; nothing where there is no memory.
    pub fn take(
        &self,
        owner: &Arc<Inner>,
        key: PoolKey,
        make: impl FnOnce() -> Result<Option<Raw>>,
    ) -> Result<Option<Arc<Buffer>>> {
        let found = {
            let mut pool = self.state.lock().expect("pool");
            let found = pool.newest(key);
            if found.is_none() && pool.in_use + pool.pooled + key.bytes > self.limit {
                return Ok(None);
            }
            pool.hold(key.bytes);
            found
        };
        let raw = match found {
            Some(raw) => Ok(Some(raw)),
            None => make(),
        };
        if !matches!(raw, Ok(Some(_))) {
            self.state.lock().expect("pool").in_use -= key.bytes;
        }
        Ok(raw?.map(|raw| Arc::new(Buffer { raw: Some(raw), key, owner: Arc::downgrade(owner) })))
    }

    /// Bytes held by live tensors.
    pub fn in_use(&self) -> u64 {
        self.state.lock().expect("pool").in_use
    }

    /// Bytes kept for tensors to come.
    pub fn pooled(&self) -> u64 {
        self.state.lock().expect("pool").pooled
    }

    /// Most bytes ever held, live and pooled.
    pub fn peak(&self) -> u64 {
        self.state.lock().expect("pool").peak
    }

    /// Most bytes that live tensors ever held.
    pub fn peak_in_use(&self) -> u64 {
        self.state.lock().expect("pool").peak_in_use
    }

    /// Most bytes that live tensors held since this was last called.
    pub fn take_peak(&self) -> u64 {
        let mut pool = self.state.lock().expect("pool");
        let now = pool.in_use;
        std::mem::replace(&mut pool.recent_peak, now)
    }

    /// Frees what no tensor uses.
    pub fn trim(&self) {
        let mut pool = self.state.lock().expect("pool");
        pool.free.clear();
        pool.age.clear();
        pool.pooled = 0;
    }

    /// Keeps a buffer for the next tensor of its kind; returns those that this pushes out.
    fn give_back(&self, key: PoolKey, raw: Raw) -> Vec<Raw> {
        let mut pool = self.state.lock().expect("pool");
        pool.in_use -= key.bytes;
        pool.pooled += key.bytes;
        pool.clock += 1;
        let now = pool.clock;
        pool.age.insert(now, key);
        pool.free.entry(key).or_default().push_back((now, raw));
        let mut out = Vec::new();
        if pool.pooled > pool.peak_in_use {
            // Not one by one: whoever holds on to them is searched for each time.
            let keep = pool.peak_in_use / 4 * 3;
            while pool.pooled > keep {
                out.extend(pool.oldest());
            }
        }
        out
    }
}

impl Raw {
    pub fn gpu(&self) -> &Memory {
        match self {
            Self::Gpu(memory) => memory,
            Self::Cpu(_) => unreachable!("a GPU queue met a CPU tensor"),
        }
    }
}

impl Buffer {
    pub fn bytes(&self) -> u64 {
        self.key.bytes
    }

    pub fn gpu(&self) -> &wgpu::Buffer {
        &self.memory().buffer
    }

    pub fn memory(&self) -> &Memory {
        self.raw.as_ref().expect("a live tensor has memory").gpu()
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
            owner.forget(owner.pool.give_back(self.key, raw));
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
