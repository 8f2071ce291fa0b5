//! Devices: a GPU through wgpu, or the host's cores, behind one handle that takes kernels.

mod buffer;
mod caps;
mod cpu;
pub(crate) mod fastmath;
mod gpu;
mod kernel;
mod real;
mod select;
mod shader;
mod tensor;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use caps::{Caps, DeviceClass};
pub use cpu::Precision;
pub use kernel::{Access, Bound, Constant, In, Io, Kernel, Out, ParamScalar, Params, Plan, Scalar, grid, read, write};
pub use real::Real;
pub use select::{AdapterReport, Selector, adapters};
pub use shader::{SOURCES, assemble, validate};
pub use tensor::{DType, Tensor};

use crate::{Error, Result};
use buffer::{Pool, PoolKey, Raw, Storage, Stored};

/// Whether shaders keep bounds checks and submissions are validated in full (`MINOISE_CHECKED=1`, or a debug build).
pub fn checked() -> bool {
    match std::env::var("MINOISE_CHECKED") {
        Ok(value) => value != "0",
        Err(_) => cfg!(debug_assertions),
    }
}

/// What a dispatch would have been: recorded by [`Device::capture`].
#[derive(Clone, Debug)]
pub struct Captured {
    pub kernel: &'static str,
    pub plan: Plan,
    pub fields: &'static [(&'static str, usize, Scalar)],
    /// Binding number, access and element type of every tensor.
    pub bindings: Vec<(u32, Access, DType)>,
}

/// Counters of a device since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    pub dispatches: u64,
    pub bytes_in_use: u64,
    pub peak_bytes: u64,
    /// Seconds spent assembling and compiling pipelines (wall clock).
    pub compile_seconds: f64,
    pub pipelines: usize,
}

#[derive(Debug)]
enum Backend {
    Cpu(Precision),
    Gpu(Box<gpu::Gpu>),
}

#[derive(Debug)]
struct Inner {
    name: String,
    caps: Caps,
    pool: Pool,
    backend: Backend,
    dispatches: AtomicU64,
    /// Executes nothing.
    planner: bool,
}

thread_local! {
    /// The device whose dispatches this thread captures, and what it captured: other threads go on executing.
    static CAPTURE: RefCell<Option<(usize, Vec<Captured>)>> = const { RefCell::new(None) };
}

/// A handle to one device; clones share it.
#[derive(Clone, Debug)]
pub struct Device(Arc<Inner>);

impl Device {
    /// Opens the device that `selector` names.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`] where nothing matches; [`Error::Unsupported`] where the adapter is too small.
    pub fn open(selector: &Selector) -> Result<Self> {
        if *selector == Selector::Cpu {
            return Ok(Self::cpu(Precision::F32));
        }
        let instance = select::instance();
        let adapters = select::enumerate(&instance, selector.backends());
        let reports: Vec<_> = adapters.iter().map(AdapterReport::of).collect();
        match selector.choose(&reports)?.0 {
            None => Ok(Self::cpu(Precision::F32)),
            Some(i) => {
                let gpu = pollster::block_on(gpu::Gpu::open(&adapters[i], &reports[i].caps))?;
                // No optional feature is requested, so none is there.
                let caps = Caps { subgroup: (0, 0), f16: false, timestamps: false, ..reports[i].caps.clone() };
                Ok(Self::from_backend(reports[i].label(), caps, Backend::Gpu(Box::new(gpu))))
            }
        }
    }

    /// The CPU device in the given precision.
    pub fn cpu(precision: Precision) -> Self {
        let cores = rayon::current_num_threads();
        let name = match precision {
            Precision::F32 => format!("cpu ({cores} threads, f32)"),
            Precision::F64 => format!("cpu ({cores} threads, f64)"),
        };
        Self::from_backend(name, Caps::cpu(), Backend::Cpu(precision))
    }

    /// A device that executes nothing and plans for `caps`; for looking at plans with [`Device::capture`].
    pub fn planner(caps: Caps) -> Self {
        let mut device = Self::from_backend("planner".into(), caps, Backend::Cpu(Precision::F32));
        Arc::get_mut(&mut device.0).expect("a new handle has no clones").planner = true;
        device
    }

    fn from_backend(name: String, caps: Caps, backend: Backend) -> Self {
        Self(Arc::new(Inner {
            name,
            caps,
            pool: Pool::default(),
            backend,
            dispatches: AtomicU64::new(0),
            planner: false,
        }))
    }

    /// Backend, adapter and driver.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn caps(&self) -> &Caps {
        &self.0.caps
    }

    /// Whether work runs on the host's cores by way of the twins.
    pub fn is_cpu(&self) -> bool {
        matches!(self.0.backend, Backend::Cpu(_))
    }

    pub fn stats(&self) -> Stats {
        let (compile_seconds, pipelines) = match &self.0.backend {
            Backend::Gpu(gpu) => gpu.compile_stats(),
            Backend::Cpu(_) => (0.0, 0),
        };
        Stats {
            dispatches: self.0.dispatches.load(Ordering::Relaxed),
            bytes_in_use: self.0.pool.in_use(),
            peak_bytes: self.0.pool.peak(),
            compile_seconds,
            pipelines,
        }
    }

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

    /// Records one dispatch (GPU) or runs the twin (CPU).
    ///
    /// # Errors
    /// What the plan refuses, shader errors, and any earlier failure of the queue.
    pub fn run<K: Kernel>(&self, kernel: &K) -> Result<()> {
        let capturing = CAPTURE.with_borrow(|c| c.as_ref().is_some_and(|(device, _)| *device == self.id()));
        if self.is_cpu() && !capturing && !self.0.planner {
            self.0.dispatches.fetch_add(1, Ordering::Relaxed);
            return match self.0.backend {
                Backend::Cpu(Precision::F32) => cpu::run::<f32, K>(kernel),
                _ => cpu::run::<f64, K>(kernel),
            };
        }
        let plan = kernel.plan(&self.0.caps)?;
        self.check(K::NAME, &plan)?;
        if capturing {
            let bindings = kernel.tensors().iter().map(|b| (b.binding, b.access, b.tensor.dtype())).collect();
            let seen = Captured { kernel: K::NAME, plan, fields: K::Params::FIELDS, bindings };
            CAPTURE.with_borrow_mut(|c| c.as_mut().expect("capturing").1.push(seen));
            return Ok(());
        }
        if self.0.planner || plan.groups.contains(&0) {
            return Ok(());
        }
        self.0.dispatches.fetch_add(1, Ordering::Relaxed);
        match &self.0.backend {
            Backend::Gpu(gpu) if gpu.twinned(K::NAME) => self.run_twin(gpu, kernel),
            Backend::Gpu(gpu) => gpu.run(K::NAME, &plan, bytemuck::bytes_of(&kernel.params()), &kernel.tensors()),
            Backend::Cpu(_) => unreachable!("handled above"),
        }
    }

    /// Runs the twin in place of a GPU kernel (`MINOISE_TWIN=name,...`), to find a wrong kernel by switching it off.
    fn run_twin<K: Kernel>(&self, gpu: &gpu::Gpu, kernel: &K) -> Result<()> {
        let bound = kernel.tensors();
        let mut host = Vec::new();
        for b in &bound {
            host.push(match b.tensor.dtype() {
                DType::U32 => Storage::U32(pollster::block_on(self.read_u32(b.tensor))?),
                DType::F16 => {
                    let bytes = pollster::block_on(gpu.read(b.tensor.buffer.gpu(), b.tensor.len().div_ceil(2) * 4))?;
                    let halves: Vec<half::f16> = bytemuck::pod_collect_to_vec(&bytes);
                    Storage::F32(halves[..b.tensor.len()].iter().map(|x| x.to_f32()).collect())
                }
                DType::Real => Storage::F32(pollster::block_on(self.read(b.tensor))?),
            });
        }
        let (mut ins, mut outs) = (Vec::new(), Vec::new());
        for (b, storage) in bound.iter().zip(&mut host) {
            match (b.access, storage) {
                (Access::Read, Storage::U32(x)) => ins.push(In::U32(x)),
                (Access::Read, x) => ins.push(In::Real(f32::slice(x))),
                (Access::Write, Storage::U32(x)) => outs.push(Out::U32(x)),
                (Access::Write, x) => outs.push(Out::Real(f32::slice_mut(x))),
            }
        }
        kernel.twin(Io { ins, outs });
        for (b, storage) in bound.iter().zip(&host).filter(|(b, _)| b.access == Access::Write) {
            match storage {
                Storage::U32(x) => gpu.write(b.tensor.buffer.gpu(), bytemuck::cast_slice(x))?,
                x => gpu.write(b.tensor.buffer.gpu(), bytemuck::cast_slice(f32::slice(x)))?,
            }
        }
        Ok(())
    }

    /// Refuses a plan that exceeds the device, before anything is created.
    fn check(&self, kernel: &str, plan: &Plan) -> Result<()> {
        let caps = &self.0.caps;
        let fit = |what: &str, needed: u64, limit: u64| {
            if needed <= limit {
                return Ok(());
            }
            Err(Error::Limit {
                what: format!("{what} of kernel `{kernel}`"),
                subject: self.name().into(),
                needed,
                limit,
                way_out: "use a smaller fit_batch or batch_size, or --device cpu",
            })
        };
        fit("the workgroup memory", plan.shared_bytes.into(), caps.workgroup_memory.into())?;
        fit("the workgroup", plan.workgroup.into(), caps.max_invocations.into())?;
        fit("the dispatch", plan.groups.into_iter().max().unwrap_or(0).into(), caps.max_groups.into())
    }

    /// Runs `work` without executing any kernel and returns what it would have dispatched. Tensors are still created.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn capture(&self, work: impl FnOnce() -> Result<()>) -> Result<Vec<Captured>> {
        let before = CAPTURE.replace(Some((self.id(), Vec::new())));
        let result = work();
        let captured = CAPTURE.replace(before);
        result.map(|()| captured.map(|(_, list)| list).unwrap_or_default())
    }

    fn id(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// Compiles, in parallel, every pipeline that `work` would use. Nothing to do on the CPU device.
    ///
    /// # Errors
    /// Those of `work` and of shader compilation.
    pub fn prewarm(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        match &self.0.backend {
            Backend::Gpu(gpu) => gpu.compile_all(&self.capture(work)?),
            Backend::Cpu(_) => Ok(()),
        }
    }

    /// Hands recorded work to the device without waiting.
    ///
    /// # Errors
    /// Any failure of the queue.
    pub fn flush(&self) -> Result<()> {
        match &self.0.backend {
            Backend::Gpu(gpu) => gpu.flush(),
            Backend::Cpu(_) => Ok(()),
        }
    }

    /// Waits until all submitted work is done.
    ///
    /// # Errors
    /// Any failure of the queue.
    pub async fn finish(&self) -> Result<()> {
        match &self.0.backend {
            Backend::Gpu(gpu) => gpu.finish().await,
            Backend::Cpu(_) => Ok(()),
        }
    }

    /// Ends a GPU device at once; whatever is asked of it afterwards fails with [`Error::DeviceLost`].
    pub fn destroy(&self) {
        if let Backend::Gpu(gpu) = &self.0.backend {
            gpu.destroy();
        }
    }

    /// Frees pooled memory that no tensor uses.
    pub fn trim(&self) {
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
