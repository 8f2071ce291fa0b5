//! Memory of a device: tensors, uploads, copies, reading back.

use super::buffer::{PoolKey, Raw, Storage};
use super::profile::Activity;
use super::{Backend, DType, Device, Precision, Real, Tensor, View, cpu, view};
use crate::{Error, Result};

/// Refuses a tensor of another element type.
fn holds(op: &'static str, tensor: &Tensor, expected: DType) -> Result<()> {
    match tensor.dtype() {
        dtype if dtype == expected => Ok(()),
        got => Err(Error::DType { op, arg: "tensor", expected, got }),
    }
}

impl Device {
    /// A tensor with arbitrary contents.
    ///
    /// # Errors
    /// [`Error::Limit`] where it is larger than one binding of this device; [`Error::OutOfMemory`] where there is no room
    /// even after the pool's free memory went back to the driver. The device goes on.
    pub fn empty(&self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let n: usize = shape.iter().product();
        let bytes = match (dtype, &self.0.backend) {
            (DType::F16, Backend::Gpu(_)) => n.div_ceil(2) as u64 * 4,
            (DType::Real | DType::F16, Backend::Cpu(Precision::F64)) => n as u64 * 8,
            _ => n as u64 * 4,
        }
        .max(1)
        .next_multiple_of(256);
        let limit = self.0.caps.max_binding.min(self.0.caps.max_buffer);
        if bytes > limit {
            return Err(Error::Limit {
                what: format!("a tensor of shape {shape:?}"),
                subject: self.name().into(),
                needed: bytes,
                limit,
                way_out: "use a smaller batch or buffer_size",
            });
        }
        let key = PoolKey { bytes, kind: u8::from(self.is_cpu() && dtype == DType::U32) };
        let make = || match &self.0.backend {
            Backend::Cpu(precision) => {
                let word = if dtype == DType::U32 || *precision == Precision::F32 { 4 } else { 8 };
                let n = if self.0.planner { 0 } else { (bytes / word) as usize };
                let storage = cpu::storage(dtype, *precision, n);
                Ok(storage.map(|storage| Raw::Cpu(std::sync::RwLock::new(storage))))
            }
            Backend::Gpu(gpu) => Ok(gpu.create_buffer(bytes)?.map(Raw::Gpu)),
        };
        let mut buffer = self.0.pool.take(&self.0, key, make)?;
        if buffer.is_none() {
            self.reclaim()?;
            buffer = self.0.pool.take(&self.0, key, make)?;
        }
        let buffer = buffer.ok_or_else(|| Error::OutOfMemory { during: format!("a tensor of shape {shape:?}") })?;
        Ok(Tensor::new(buffer, shape, dtype))
    }

    /// An uninitialised tensor of reals.
    ///
    /// # Errors
    /// See [`Device::empty`].
    pub fn reals(&self, shape: &[usize]) -> Result<Tensor> {
        self.empty(shape, DType::Real)
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// See [`Device::empty`].
    pub fn zeros(&self, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.reals(shape)?;
        self.clear(&tensor)?;
        Ok(tensor)
    }

    /// Sets every element to zero.
    ///
    /// # Errors
    /// Any earlier failure of the queue.
    pub fn clear(&self, tensor: &Tensor) -> Result<()> {
        if self.0.planner {
            return Ok(());
        }
        let _clearing = self.0.profiler.span(Activity::Copy, 4 * tensor.len() as u64);
        match &self.0.backend {
            Backend::Gpu(gpu) => gpu.clear(tensor.buffer.gpu()),
            Backend::Cpu(_) => {
                match &mut *tensor.buffer.cpu().write().expect("storage") {
                    Storage::F32(data) => data.fill(0.0),
                    Storage::F64(data) => data.fill(0.0),
                    Storage::U32(data) => data.fill(0),
                }
                Ok(())
            }
        }
    }

    /// Uploads reals (kept as f64 by the f64 device, rounded to f32 elsewhere).
    ///
    /// # Errors
    /// [`Error::Shape`] where the length is not that of `shape`; see also [`Device::empty`].
    pub fn upload<T: Real>(&self, data: &[T], shape: &[usize]) -> Result<Tensor> {
        let tensor = self.reals(shape)?;
        self.write(&tensor, data)?;
        Ok(tensor)
    }

    /// Overwrites `tensor` with `data`; halves only come by [`Device::upload_f16`].
    ///
    /// # Errors
    /// [`Error::Shape`] where the lengths differ, [`Error::DType`] where the tensor holds no reals.
    pub fn write<T: Real>(&self, tensor: &Tensor, data: &[T]) -> Result<()> {
        holds("write", tensor, DType::Real)?;
        if data.len() != tensor.len() {
            return Err(Error::shape("upload", "data", tensor.shape(), data.len()));
        }
        if self.0.planner {
            return Ok(());
        }
        let _uploading = self.0.profiler.span(Activity::Upload, 4 * data.len() as u64);
        match &self.0.backend {
            Backend::Gpu(gpu) => {
                let words: Vec<f32> = data.iter().map(|x| x.get() as f32).collect();
                gpu.write(tensor.buffer.gpu(), bytemuck::cast_slice(&words))
            }
            Backend::Cpu(_) => {
                match &mut *tensor.buffer.cpu().write().expect("storage") {
                    Storage::F32(to) => to.iter_mut().zip(data).for_each(|(to, x)| *to = x.get() as f32),
                    Storage::F64(to) => to.iter_mut().zip(data).for_each(|(to, x)| *to = x.get()),
                    Storage::U32(_) => unreachable!("reals into integers"),
                }
                Ok(())
            }
        }
    }

    /// Uploads halves, kept packed on a GPU and widened on the CPU device.
    ///
    /// # Errors
    /// See [`Device::upload`].
    pub fn upload_f16(&self, data: &[half::f16], shape: &[usize]) -> Result<Tensor> {
        let tensor = self.empty(shape, DType::F16)?;
        if data.len() != tensor.len() {
            return Err(Error::shape("upload", "data", shape, data.len()));
        }
        let _uploading = self.0.profiler.span(Activity::Upload, 2 * data.len() as u64);
        match &self.0.backend {
            _ if self.0.planner => {}
            Backend::Gpu(gpu) => {
                let mut padded = data.to_vec();
                padded.resize(data.len().next_multiple_of(2), half::f16::ZERO);
                gpu.write(tensor.buffer.gpu(), bytemuck::cast_slice(&padded))?;
            }
            Backend::Cpu(_) => {
                let reals = data.iter().map(|x| x.to_f32());
                match &mut *tensor.buffer.cpu().write().expect("storage") {
                    Storage::F32(to) => to.iter_mut().zip(reals).for_each(|(to, x)| *to = x),
                    Storage::F64(to) => to.iter_mut().zip(reals).for_each(|(to, x)| *to = x.into()),
                    Storage::U32(_) => unreachable!("halves are reals here"),
                }
            }
        }
        Ok(tensor)
    }

    /// Uploads integers.
    ///
    /// # Errors
    /// See [`Device::upload`].
    pub fn upload_u32(&self, data: &[u32], shape: &[usize]) -> Result<Tensor> {
        let tensor = self.empty(shape, DType::U32)?;
        if data.len() != tensor.len() {
            return Err(Error::shape("upload", "data", shape, data.len()));
        }
        let _uploading = self.0.profiler.span(Activity::Upload, 4 * data.len() as u64);
        match &self.0.backend {
            _ if self.0.planner => {}
            Backend::Gpu(gpu) => gpu.write(tensor.buffer.gpu(), bytemuck::cast_slice(data))?,
            Backend::Cpu(_) => match &mut *tensor.buffer.cpu().write().expect("storage") {
                Storage::U32(to) => to[..data.len()].copy_from_slice(data),
                _ => unreachable!("integers into reals"),
            },
        }
        Ok(tensor)
    }

    /// Copies `count` elements from one tensor to another.
    ///
    /// # Errors
    /// [`Error::Shape`] where they lie outside a tensor, [`Error::DType`] where the element types differ or are halves,
    /// [`Error::Aliasing`] where both are one tensor; any earlier failure of the queue.
    pub fn copy(&self, from: &Tensor, from_at: usize, to: &Tensor, to_at: usize, count: usize) -> Result<()> {
        let dtype = if from.dtype() == DType::U32 { DType::U32 } else { DType::Real };
        let [from_view, to_view] = [View::span(from, from_at, count), View::span(to, to_at, count)];
        let operands = [view::read(0, "from", from_view).of(dtype), view::write(0, "to", to_view).of(dtype)];
        view::check("copy", &operands)?;
        view::check_aliasing("copy", &operands)?;
        if count == 0 || self.0.planner {
            return Ok(());
        }
        let _copying = self.0.profiler.span(Activity::Copy, 4 * count as u64);
        match &self.0.backend {
            Backend::Gpu(gpu) => {
                gpu.copy(from.buffer.gpu(), from_at as u64 * 4, to.buffer.gpu(), to_at as u64 * 4, count as u64 * 4)
            }
            Backend::Cpu(_) => {
                // In the order in which dispatches lock, so that crossed copies on two threads do not wait for each other.
                let read = || from.buffer.cpu().read().expect("storage");
                let write = || to.buffer.cpu().write().expect("storage");
                let (from, mut to) = if from.id() < to.id() {
                    let from = read();
                    (from, write())
                } else {
                    let to = write();
                    (read(), to)
                };
                match (&*from, &mut *to) {
                    (Storage::F32(a), Storage::F32(b)) => b[to_at..][..count].copy_from_slice(&a[from_at..][..count]),
                    (Storage::F64(a), Storage::F64(b)) => b[to_at..][..count].copy_from_slice(&a[from_at..][..count]),
                    (Storage::U32(a), Storage::U32(b)) => b[to_at..][..count].copy_from_slice(&a[from_at..][..count]),
                    _ => unreachable!("copies keep the element type"),
                }
                Ok(())
            }
        }
    }

    /// Frees pooled memory that no tensor uses.
    pub fn trim(&self) {
        if let Backend::Gpu(gpu) = &self.0.backend {
            gpu.trim();
        }
        self.0.pool.trim();
    }

    /// The same, and sees to it that the memory is free when this returns: what is recorded and in flight holds on to it.
    fn reclaim(&self) -> Result<()> {
        self.flush()?;
        self.trim();
        match &self.0.backend {
            Backend::Gpu(gpu) => gpu.settle(),
            Backend::Cpu(_) => Ok(()),
        }
    }

    /// Reads reals back in the precision asked for.
    ///
    /// # Errors
    /// [`Error::DType`] where the tensor holds none; any failure of the queue up to here.
    pub async fn read<T: Real>(&self, tensor: &Tensor) -> Result<Vec<T>> {
        holds("read", tensor, DType::Real)?;
        let n = tensor.len();
        let _reading = self.0.profiler.span(Activity::ReadBack, 4 * n as u64);
        match &self.0.backend {
            _ if self.0.planner => Ok(vec![T::of(0.0); n]),
            Backend::Gpu(gpu) => {
                let bytes = gpu.read(tensor.buffer.gpu(), n * 4).await?;
                let words: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
                Ok(words.into_iter().map(|x| T::of(f64::from(x))).collect())
            }
            Backend::Cpu(_) => Ok(match &*tensor.buffer.cpu().read().expect("storage") {
                Storage::F32(data) => data[..n].iter().map(|&x| T::of(f64::from(x))).collect(),
                Storage::F64(data) => data[..n].iter().map(|&x| T::of(x)).collect(),
                Storage::U32(_) => unreachable!("integers read as reals"),
            }),
        }
    }

    /// Reads integers back.
    ///
    /// # Errors
    /// [`Error::DType`] where the tensor holds none; any failure of the queue up to here.
    pub async fn read_u32(&self, tensor: &Tensor) -> Result<Vec<u32>> {
        holds("read_u32", tensor, DType::U32)?;
        let n = tensor.len();
        let _reading = self.0.profiler.span(Activity::ReadBack, 4 * n as u64);
        match &self.0.backend {
            _ if self.0.planner => Ok(vec![0; n]),
            Backend::Gpu(gpu) => {
                let bytes = gpu.read(tensor.buffer.gpu(), n * 4).await?;
                Ok(bytemuck::pod_collect_to_vec(&bytes))
            }
            Backend::Cpu(_) => match &*tensor.buffer.cpu().read().expect("storage") {
                Storage::U32(data) => Ok(data[..n].to_vec()),
                _ => unreachable!("reals read as integers"),
            },
        }
    }
}
