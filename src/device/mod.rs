//! Devices: a GPU through wgpu, or the host's cores, behind one handle that takes kernels.

mod buffer;
mod caps;
mod cpu;
mod debugger;
pub(crate) mod fastmath;
mod gpu;
mod kernel;
mod memory;
mod open;
mod pipeline;
mod poison;
mod profile;
mod real;
mod request;
mod saved;
mod select;
mod shader;
mod tensor;
mod tuned;
mod variant;
mod view;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub use caps::{Caps, DeviceClass};
pub use cpu::Precision;
pub use kernel::{
    Access, Constant, In, Io, Kernel, Out, ParamScalar, Params, Plan, PlanKey, Scalar, Twin, WithPlan, grid,
};
pub use open::Options;
pub use profile::{Activity, Dispatched, Interval, Part, Profile, Scope};
pub use real::Real;
pub use select::{AdapterReport, Selector, adapters};
pub use shader::{SOURCES, assemble, capabilities, kernels, validate, variant_of};
pub use tensor::{DType, Tensor};
pub use tuned::{Choice, Tuned};
pub use variant::{Form, Varied};
pub use view::{Operand, View, read, write};

use crate::{Error, Result, host};
use buffer::{Pool, Raw, Storage, Stored};

/// Whether shaders keep bounds checks and submissions are validated in full (`MINOISE_CHECKED=1`, or a debug build).
pub fn checked() -> bool {
    host::variable("MINOISE_CHECKED").map_or(cfg!(debug_assertions), |value| value != "0")
}

/// What a dispatch would have been: recorded by [`Device::capture`].
#[derive(Clone, Debug)]
pub struct Captured {
    /// The kernel's name.
    pub kernel: &'static str,
    /// How it would have run.
    pub plan: Plan,
    /// Name, byte offset and type of every field of its params.
    pub fields: &'static [(&'static str, usize, Scalar)],
    /// Its operands, without the params.
    pub bindings: Vec<Binding>,
}

/// What a shader must declare for an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Number in the shader; params are binding 0.
    pub number: u32,
    /// Name in the shader.
    pub name: &'static str,
    /// Whether it is written.
    pub access: Access,
    /// Element type that the shader declares.
    pub dtype: DType,
}

impl From<&Operand<'_>> for Binding {
    fn from(o: &Operand<'_>) -> Self {
        Self { number: o.binding, name: o.name, access: o.access, dtype: o.dtype }
    }
}

/// Counters of a device since it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Kernels started, or twins on the CPU device.
    pub dispatches: u64,
    /// Times that recorded work was handed to a GPU.
    pub submissions: u64,
    /// Bytes of live tensors.
    pub bytes_in_use: u64,
    /// Bytes free and kept for the next tensors.
    pub pooled_bytes: u64,
    /// Most bytes held, in use and kept.
    pub peak_bytes: u64,
    /// Most bytes in use.
    pub peak_bytes_in_use: u64,
    /// Seconds spent assembling and compiling pipelines (wall clock).
    pub compile_seconds: f64,
    /// Compiled pipelines; none on the CPU device.
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
    profiler: profile::Profiler,
    /// Finished plans by kernel, key, and the numbers of the operands that are there, as bits.
    plans: Mutex<HashMap<(&'static str, PlanKey, u32), Plan>>,
}

impl Inner {
    /// Frees what the pool does not keep.
    fn forget(&self, memory: Vec<Raw>) {
        let Backend::Gpu(gpu) = &self.backend else { return };
        if !memory.is_empty() {
            gpu.forget(&memory.iter().map(|raw| raw.gpu().id).collect());
        }
    }
}

thread_local! {
    /// The device whose dispatches this thread captures, and what it captured: other threads go on executing.
    static CAPTURE: RefCell<Option<(usize, Vec<Captured>)>> = const { RefCell::new(None) };
}

/// A handle to one device; clones share it.
#[derive(Clone, Debug)]
pub struct Device(Arc<Inner>);

impl Device {
    /// Backend, adapter and driver.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Limits and features that plans look at.
    pub fn caps(&self) -> &Caps {
        &self.0.caps
    }

    /// Whether work runs on the host's cores by way of the twins.
    pub fn is_cpu(&self) -> bool {
        matches!(self.0.backend, Backend::Cpu(_))
    }

    /// Whether reals are kept in f64.
    pub fn is_double(&self) -> bool {
        matches!(self.0.backend, Backend::Cpu(Precision::F64))
    }

    /// Whether it executes nothing, as [`Device::planner`] says.
    pub(crate) fn is_planner(&self) -> bool {
        self.0.planner
    }

    /// What the device has done so far, and the memory that it holds.
    pub fn stats(&self) -> Stats {
        let (compile_seconds, pipelines) = match &self.0.backend {
            Backend::Gpu(gpu) => gpu.compile_stats(),
            Backend::Cpu(_) => (0.0, 0),
        };
        Stats {
            dispatches: self.0.dispatches.load(Ordering::Relaxed),
            submissions: match &self.0.backend {
                Backend::Gpu(gpu) => gpu.submissions(),
                Backend::Cpu(_) => 0,
            },
            bytes_in_use: self.0.pool.in_use(),
            pooled_bytes: self.0.pool.pooled(),
            peak_bytes: self.0.pool.peak(),
            peak_bytes_in_use: self.0.pool.peak_in_use(),
            compile_seconds,
            pipelines,
        }
    }

    /// Most bytes of live tensors since this was last called, or the device was opened.
    pub fn take_peak(&self) -> u64 {
        self.0.pool.take_peak()
    }

    /// Checks the operands, then records one dispatch (GPU) or runs the twin (CPU).
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::DType`] and [`Error::Aliasing`] of operands; what the plan refuses, shader errors, and any
    /// earlier failure of the queue.
    pub fn run<K: Twin>(&self, kernel: &K) -> Result<()> {
        let operands = kernel.operands()?;
        view::check(K::NAME, &operands)?;
        let capturing = CAPTURE.with_borrow(|c| c.as_ref().is_some_and(|(device, _)| *device == self.id()));
        // What is captured does not run: one tensor may stand for several.
        if !capturing {
            view::check_aliasing(K::NAME, &operands)?;
        }
        if let (Backend::Cpu(precision), false, false) = (&self.0.backend, capturing, self.0.planner) {
            self.0.dispatches.fetch_add(1, Ordering::Relaxed);
            let noted = self.noted(kernel, &operands).zip(self.0.profiler.now());
            match precision {
                Precision::F32 => cpu::run::<f32, K>(kernel, &operands),
                Precision::F64 => cpu::run::<f64, K>(kernel, &operands),
            }
            if let Some((note, start)) = noted {
                self.0.profiler.ran(note, start);
            }
            return Ok(());
        }
        if self.0.planner && !capturing && self.0.caps.class == DeviceClass::Cpu {
            // Twins have no plans.
            return Ok(());
        }
        let plan = self.plan(kernel, &operands)?;
        if capturing {
            let bindings = operands.iter().map(Binding::from).collect();
            let seen = Captured { kernel: K::NAME, plan, fields: K::Params::FIELDS, bindings };
            CAPTURE.with_borrow_mut(|c| c.as_mut().expect("capturing").1.push(seen));
            return Ok(());
        }
        if self.0.planner || plan.groups.contains(&0) {
            return Ok(());
        }
        self.0.dispatches.fetch_add(1, Ordering::Relaxed);
        match &self.0.backend {
            Backend::Gpu(gpu) if gpu.twinned(K::NAME) => self.run_twin(gpu, kernel, &operands),
            Backend::Gpu(gpu) => {
                let seconds = self.0.caps.seconds(kernel.flops(), operands.iter().map(Operand::bytes).sum());
                let (params, note) = (kernel.params(), self.noted(kernel, &operands));
                gpu.run(K::NAME, &plan, bytemuck::bytes_of(&params), &operands, seconds, note)
            }
            Backend::Cpu(_) => unreachable!("handled above"),
        }
    }

    /// What a profile keeps of a dispatch, while there is one.
    fn noted<K: Kernel>(&self, kernel: &K, operands: &[Operand<'_>]) -> Option<profile::Note> {
        self.0.profiler.is_on().then(|| self.0.profiler.note(K::NAME, kernel.flops(), operands)).flatten()
    }

    /// The plan of a kernel for this device, chosen once for every key and choice of operands.
    fn plan<K: Kernel>(&self, kernel: &K, operands: &[Operand<'_>]) -> Result<Plan> {
        let made = || {
            let plan = kernel.plan(&self.0.caps)?;
            self.check(K::NAME, &plan)?;
            Ok(plan)
        };
        let Some(key) = kernel.key() else { return made() };
        let key = (K::NAME, key, operands.iter().fold(0, |bits, operand| bits | 1 << operand.binding));
        if let Some(plan) = self.0.plans.lock().expect("plans").get(&key) {
            return Ok(plan.clone());
        }
        let plan = made()?;
        self.0.plans.lock().expect("plans").insert(key, plan.clone());
        Ok(plan)
    }

    /// Runs the twin in place of a GPU kernel (`MINOISE_TWIN=name,...`), to find a wrong kernel by switching it off.
    fn run_twin<K: Twin>(&self, gpu: &gpu::Gpu, kernel: &K, operands: &[Operand<'_>]) -> Result<()> {
        const TWIN: &str = "a twin in place of a kernel";
        let mut storages = Vec::new();
        for o in operands {
            let tensor = o.view.tensor;
            storages.push(match tensor.dtype() {
                DType::U32 => Storage::U32(host::wait(self.read_u32(tensor), TWIN)?),
                DType::F16 => {
                    let bytes = host::wait(gpu.read(tensor.buffer.gpu(), tensor.len().div_ceil(2) * 4), TWIN)?;
                    let halves: Vec<half::f16> = bytemuck::pod_collect_to_vec(&bytes);
                    Storage::F32(halves[..tensor.len()].iter().map(|x| x.to_f32()).collect())
                }
                DType::Real => Storage::F32(host::wait(self.read(tensor), TWIN)?),
            });
        }
        let (mut ins, mut outs) = (Vec::new(), Vec::new());
        for (o, storage) in operands.iter().zip(&mut storages) {
            match (o.access, storage) {
                (Access::Read, Storage::U32(x)) => ins.push(In::U32(x)),
                (Access::Read, x) => ins.push(In::Real(f32::slice(x))),
                (Access::Write, Storage::U32(x)) => outs.push(Out::U32(x)),
                (Access::Write, x) => outs.push(Out::Real(f32::slice_mut(x))),
            }
        }
        kernel.twin(Io { ins, outs });
        for (o, storage) in operands.iter().zip(&storages).filter(|(o, _)| o.access == Access::Write) {
            let buffer = o.view.tensor.buffer.gpu();
            match storage {
                Storage::U32(x) => gpu.write(buffer, bytemuck::cast_slice(x))?,
                x => gpu.write(buffer, bytemuck::cast_slice(f32::slice(x)))?,
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
        self.compile(&self.capture(work)?)
    }

    /// Compiles, in parallel, every pipeline of a capture, be it another device's.
    ///
    /// # Errors
    /// Those of shader compilation.
    pub fn compile(&self, captured: &[Captured]) -> Result<()> {
        match &self.0.backend {
            Backend::Gpu(gpu) => gpu.compile_all(captured),
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
}
