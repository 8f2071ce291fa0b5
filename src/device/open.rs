//! Opening a device: which adapter, and how.

use super::buffer::Pool;
use super::profile::Profiler;
use super::{AdapterReport, Backend, Caps, Device, Inner, Precision, Selector, Tuned, gpu, select};
use crate::Result;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

/// How a device is opened, besides which.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether what was saved for the adapter counts and is added to: the table of `minoise tune`, and compiled pipelines.
    pub saved: bool,
    /// Most bytes of tensors, live and kept for reuse; beyond it is [`crate::Error::OutOfMemory`], as where the driver has no
    /// more.
    pub memory: Option<u64>,
    /// Plans as for a device with these caps, as far as the adapter can follow them; see [`Caps::profiles`].
    pub plans: Option<Caps>,
}

impl Default for Options {
    fn default() -> Self {
        Self { saved: true, memory: None, plans: None }
    }
}

impl Device {
    /// Opens the device that `selector` names, with what `minoise tune` saved for it.
    ///
    /// # Errors
    /// [`crate::Error::UnknownDevice`] where nothing matches; [`crate::Error::Unsupported`] where the adapter is too small;
    /// [`crate::Error::Data`] where the saved table cannot be understood.
    pub async fn open(selector: &Selector) -> Result<Self> {
        Self::open_with(selector, &Options::default()).await
    }

    /// The same with other options.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub async fn open_with(selector: &Selector, options: &Options) -> Result<Self> {
        let limit = options.memory.unwrap_or(u64::MAX);
        let cpu = || Ok(Self::cpu_within(Precision::F32, limit));
        if *selector == Selector::Cpu {
            return cpu();
        }
        let instance = select::instance();
        let adapters = select::enumerate(&instance, selector.backends()).await;
        let reports: Vec<_> = adapters.iter().map(AdapterReport::of).collect();
        let Some(i) = selector.choose(&reports)?.0 else { return cpu() };
        let name = reports[i].label();
        let offered = reports[i].caps.clone();
        let wanted = options.plans.clone().map_or(offered.clone(), |plans| plans.within(&offered));
        let (gpu, mut caps) =
            gpu::Gpu::open(&adapters[i], wanted.opened(), options.saved.then_some(name.as_str())).await?;
        if options.saved {
            caps.tuned = Tuned::of_adapter(&name)?;
        }
        Ok(Self::from_backend(name, caps, Backend::Gpu(Box::new(gpu)), limit))
    }

    /// The CPU device in the given precision.
    pub fn cpu(precision: Precision) -> Self {
        Self::cpu_within(precision, u64::MAX)
    }

    fn cpu_within(precision: Precision, limit: u64) -> Self {
        let cores = rayon::current_num_threads();
        let name = match precision {
            Precision::F32 => format!("cpu ({cores} threads, f32)"),
            Precision::F64 => format!("cpu ({cores} threads, f64)"),
        };
        Self::from_backend(name, Caps::cpu(), Backend::Cpu(precision), limit)
    }

    /// A device that executes nothing and plans for `caps`: its tensors have sizes and no contents. For looking at plans with
    /// [`Device::capture`], and at the memory that work would take, in [`Device::stats`].
    pub fn planner(caps: Caps) -> Self {
        Self::planning("planner".into(), caps)
    }

    /// A planner of this device's name and caps.
    pub fn as_planner(&self) -> Self {
        Self::planning(self.name().into(), self.caps().clone())
    }

    fn planning(name: String, caps: Caps) -> Self {
        let mut device = Self::from_backend(name, caps, Backend::Cpu(Precision::F32), u64::MAX);
        Arc::get_mut(&mut device.0).expect("a new handle has no clones").planner = true;
        device
    }

    fn from_backend(name: String, caps: Caps, backend: Backend, limit: u64) -> Self {
        let pool = Pool::new(limit);
        let profiler = match &backend {
            Backend::Gpu(gpu) => gpu.profiler.clone(),
            Backend::Cpu(_) => Profiler::default(),
        };
        Self(Arc::new(Inner {
            name,
            caps,
            pool,
            backend,
            dispatches: AtomicU64::new(0),
            planner: false,
            profiler,
            plans: Mutex::default(),
        }))
    }
}
