//! Memory of a device: tensors, uploads, copies, reading back.

use super::buffer::{PoolKey, Raw, Storage};
use super::{Backend, DType, Device, Precision, Real, Tensor, cpu};
use crate::{Error, Result};

impl Device {
    /// A tensor with arbitrary contents.
    ///
    /// # Errors
    /// [`Error::Limit`] where it is larger than one binding of this device.
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
        let buffer = match &self.0.backend {
            Backend::Cpu(precision) => {
                let key = PoolKey { bytes, kind: if dtype == DType::U32 { 1 } else { 0 } };
                let elements = if dtype == DType::U32 || *precision == Precision::F32 { bytes / 4 } else { bytes / 8 };
                self.0.pool.take(&self.0, key, || {
                    let storage = cpu::storage(dtype, *precision, elements as usize)?;
                    Some(Raw::Cpu(std::sync::RwLock::new(storage)))
                })
            }
            Backend::Gpu(gpu) => {
                self.0.pool.take(&self.0, PoolKey { bytes, kind: 0 }, || Some(Raw::Gpu(gpu.create_buffer(bytes))))
            }
        };
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

    /// Overwrites `tensor` with `data`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the lengths differ.
    pub fn write<T: Real>(&self, tensor: &Tensor, data: &[T]) -> Result<()> {
        if data.len() != tensor.len() {
            return Err(Error::shape("upload", "data", tensor.shape(), data.len()));
        }
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
        match &self.0.backend {
            Backend::Gpu(gpu) => {
                let mut padded = data.to_vec();
                padded.resize(data.len().next_multiple_of(2), half::f16::ZERO);
                gpu.write(tensor.buffer.gpu(), bytemuck::cast_slice(&padded))?;
            }
            Backend::Cpu(_) => {
                let wide: Vec<f32> = data.iter().map(|x| x.to_f32()).collect();
                self.write(&tensor, &wide)?;
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
        match &self.0.backend {
            Backend::Gpu(gpu) => gpu.write(tensor.buffer.gpu(), bytemuck::cast_slice(data))?,
            Backend::Cpu(_) => match &mut *tensor.buffer.cpu().write().expect("storage") {
                Storage::U32(to) => to[..data.len()].copy_from_slice(data),
                _ => unreachable!("integers into reals"),
            },
        }
        Ok(tensor)
    }

    /// Copies `count` elements; both tensors hold reals or both integers.
    ///
    /// # Errors
    /// Any earlier failure of the queue.
    pub fn copy(&self, from: &Tensor, from_at: usize, to: &Tensor, to_at: usize, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        assert!(from_at + count <= from.len() && to_at + count <= to.len(), "a copy stays inside its tensors");
        match &self.0.backend {
            Backend::Gpu(gpu) => {
                gpu.copy(from.buffer.gpu(), from_at as u64 * 4, to.buffer.gpu(), to_at as u64 * 4, count as u64 * 4)
            }
            Backend::Cpu(_) => {
                let from = from.buffer.cpu().read().expect("storage");
                match (&*from, &mut *to.buffer.cpu().write().expect("storage")) {
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

    /// Reads reals back in the precision asked for.
    ///
    /// # Errors
    /// Any failure of the queue up to here.
    pub async fn read<T: Real>(&self, tensor: &Tensor) -> Result<Vec<T>> {
        let n = tensor.len();
        match &self.0.backend {
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
    /// Any failure of the queue up to here.
    pub async fn read_u32(&self, tensor: &Tensor) -> Result<Vec<u32>> {
        let n = tensor.len();
        match &self.0.backend {
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
