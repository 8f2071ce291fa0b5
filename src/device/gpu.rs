//! The GPU device: one queue, one recorder, a pipeline cache, and a thread that owns polling.

mod queue;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_channel::oneshot;

use super::buffer::Memory;
use super::pipeline::Pipelines;
use super::poison::Poison;
use super::profile::{Clock, Dispatched, Profiler, Stamps};
use super::saved::Saved;
use super::{Caps, Captured, request};
use crate::{Error, Result, host};

use queue::{BATCH, Recorder, TIMEOUT};

/// A submission to wait for, and whom to tell when the wait is over, whatever came of it.
type Wanted = (wgpu::SubmissionIndex, oneshot::Sender<()>);

#[derive(Debug)]
pub(super) struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    uniforms: wgpu::Buffer,
    slot: u64,
    pipelines: Pipelines,
    recorder: Mutex<Recorder>,
    pub profiler: Profiler,
    clock: Clock,
    memories: AtomicU64,
    submissions: AtomicU64,
    poison: Poison,
    /// Waits for submissions where the host does not do so by itself.
    poller: Option<host::Worker<Wanted>>,
    twins: Vec<String>,
}

impl Gpu {
    /// Opens the adapter with what `caps` ask for, and returns them without what it then did not give.
    /// Its pipelines are kept between processes under the name `saved`.
    pub async fn open(adapter: &wgpu::Adapter, caps: Caps, saved: Option<&str>) -> Result<(Self, Caps)> {
        let floor = Caps::floor();
        let enough = caps.storage_buffers >= floor.storage_buffers
            && caps.max_invocations >= floor.max_invocations
            && caps.workgroup_memory >= floor.workgroup_memory;
        if !enough {
            return Err(Error::Unsupported(format!(
                "adapter {} offers {} storage buffers, {} invocations and {} bytes of memory a workgroup; 8, 256 and 16384 are needed; use --device cpu",
                adapter.get_info().name,
                caps.storage_buffers,
                caps.max_invocations,
                caps.workgroup_memory
            )));
        }
        let (device, queue, caps) = request::device(adapter, caps).await?;
        let poison = Poison::default();
        let p = poison.clone();
        device.set_device_lost_callback(move |reason, message| p.lost(format!("{reason:?}: {message}")));
        let p = poison.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| p.reported(&error)));
        let slot = u64::from(caps.uniform_alignment).max(256);
        let uniforms = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: slot * BATCH,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let saved = saved.and_then(|name| Saved::open(&device, name));
        let profiler = Profiler::default();
        let pipelines = Pipelines::new(device.clone(), poison.clone(), saved, profiler.clone());
        let (d, p) = (device.clone(), poison.clone());
        let poller = host::Worker::spawn("minoise-poll", move |(index, done): Wanted| {
            let wait = wgpu::PollType::Wait { submission_index: Some(index), timeout: Some(TIMEOUT) };
            if let Err(e) = d.poll(wait) {
                p.lost(e.to_string());
            }
            // A waiter that gave up needs no answer.
            let _ = done.send(());
        })
        .map_err(|e| Error::Unsupported(format!("no thread for polling: {e}")))?;
        let twins = host::variable("MINOISE_TWIN").unwrap_or_default();
        let gpu = Self {
            device,
            queue,
            uniforms,
            slot,
            pipelines,
            recorder: Mutex::default(),
            profiler,
            clock: Clock::default(),
            memories: AtomicU64::new(0),
            submissions: AtomicU64::new(0),
            poison,
            poller,
            twins: twins.split(',').filter(|t| !t.is_empty()).map(String::from).collect(),
        };
        Ok((gpu, caps))
    }

    /// Whether `MINOISE_TWIN` replaces this kernel by its twin.
    pub fn twinned(&self, name: &str) -> bool {
        self.twins.iter().any(|t| t == name || t == "all")
    }

    pub fn submissions(&self) -> u64 {
        self.submissions.load(Ordering::Relaxed)
    }

    /// All dispatches of a profile, once the device has finished.
    pub async fn timed(&self) -> Result<Vec<Dispatched>> {
        self.clock.timed(self.queue.get_timestamp_period()).await
    }

    /// Gives up what is left of an earlier profile.
    pub fn forget_times(&self) {
        self.clock.forget();
    }

    /// The device as wgpu has it.
    pub fn raw(&self) -> &wgpu::Device {
        &self.device
    }

    pub fn compile_stats(&self) -> (f64, usize) {
        self.pipelines.stats()
    }

    /// The failure of the queue, if there is one.
    fn check(&self) -> Result<()> {
        self.poison.check(&self.device)
    }

    pub fn destroy(&self) {
        self.device.destroy();
    }

    /// Memory for tensors, or nothing where the driver has none left.
    pub fn create_buffer(&self, bytes: u64) -> Result<Option<Memory>> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let id = self.memories.fetch_add(1, Ordering::Relaxed);
        Ok(self.allocate("tensor", bytes, usage, false)?.map(|buffer| Memory { buffer, id }))
    }

    /// A buffer, or nothing where there is no memory, which harms nothing else.
    fn allocate(
        &self,
        label: &'static str,
        size: u64,
        usage: wgpu::BufferUsages,
        mapped_at_creation: bool,
    ) -> Result<Option<wgpu::Buffer>> {
        self.check()?;
        let label = Some(label);
        let buffer = wgpu::BufferDescriptor { label, size, usage, mapped_at_creation };
        Ok(self.made(|device| device.create_buffer(&buffer)))
    }

    /// What `make` makes, or nothing where there is no memory.
    fn made<T>(&self, make: impl FnOnce(&wgpu::Device) -> T) -> Option<T> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let made = make(&self.device);
        let p = self.poison.clone();
        let late = move |error: Option<wgpu::Error>| error.iter().for_each(|e| p.reported(e));
        let failure = host::settle(scope.pop(), late).flatten();
        failure.is_none().then_some(made)
    }

    /// Timestamps for a submission with so many noted dispatches, which run without where there is no memory.
    fn stamps(&self, dispatches: usize) -> Option<Stamps> {
        if dispatches == 0 {
            return None;
        }
        let stamps = self.clock.idle().or_else(|| self.made(|device| Stamps::new(device, BATCH as u32)));
        if stamps.is_none() {
            self.profiler.miss(dispatches);
        }
        stamps
    }

    /// A buffer between host and device; where there is no memory, once more after all work is done.
    fn staging(&self, label: &'static str, size: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        let mapped = usage.contains(wgpu::BufferUsages::MAP_WRITE);
        if let Some(buffer) = self.allocate(label, size, usage, mapped)? {
            return Ok(buffer);
        }
        self.flush()?;
        self.settle()?;
        self.allocate(label, size, usage, mapped)?.ok_or_else(|| Error::OutOfMemory { during: label.into() })
    }

    /// Compiles all pipelines of a capture on all cores.
    pub fn compile_all(&self, captured: &[Captured]) -> Result<()> {
        self.pipelines.compile_all(captured)
    }

    /// Drops what holds on to buffers that no tensor uses.
    pub fn trim(&self) {
        self.pipelines.trim();
    }

    /// Drops what holds on to this memory.
    pub fn forget(&self, memory: &HashSet<u64>) {
        self.pipelines.forget(memory);
    }
}
