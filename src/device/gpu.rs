//! The GPU device: one queue, one recorder, a pipeline cache, and a thread that owns polling.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_channel::oneshot;

use super::buffer::Memory;
use super::pipeline::{Pipeline, Pipelines};
use super::poison::Poison;
use super::profile::{Stamps, Tally};
use super::saved::Saved;
use super::{Binding, Caps, Captured, Operand, Plan, request};
use crate::{Error, Result, host};

/// What a submission may be expected to take, unless it is a single dispatch: watchdogs end a device after a second or
/// two, and a desktop waits meanwhile.
const SECONDS: f64 = 0.1;
/// Most dispatches of one submission; also the number of uniform slots.
const BATCH: u64 = 128;
/// Submissions that may be in flight before recording waits for the oldest.
const IN_FLIGHT: usize = 4;
/// Bytes of uploads that are recorded before they are submitted.
const STAGED: u64 = 64 << 20;
/// A submission that takes longer counts as lost.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A submission to wait for, and whom to tell when the wait is over, whatever came of it.
type Wanted = (wgpu::SubmissionIndex, oneshot::Sender<()>);

/// Work recorded and not yet submitted.
#[derive(Debug, Default)]
struct Recorder {
    steps: Vec<Step>,
    params: Vec<u8>,
    /// Bytes of memory between host and device that the steps hold on to.
    staged: u64,
    /// What the steps are expected to take.
    seconds: f64,
    in_flight: std::collections::VecDeque<wgpu::SubmissionIndex>,
}

#[derive(Debug)]
struct Dispatch {
    name: &'static str,
    pipeline: Arc<Pipeline>,
    bind_group: wgpu::BindGroup,
    params_at: u32,
    groups: [u32; 3],
}

impl Dispatch {
    fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        let [x, y, z] = self.groups;
        pass.set_pipeline(&self.pipeline.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[self.params_at]);
        pass.dispatch_workgroups(x, y, z);
    }
}

#[derive(Debug)]
enum Step {
    Dispatch(Dispatch),
    Copy { from: wgpu::Buffer, from_at: u64, to: wgpu::Buffer, to_at: u64, bytes: u64 },
    Clear(wgpu::Buffer),
}

#[derive(Debug)]
pub(super) struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    uniforms: wgpu::Buffer,
    slot: u64,
    pipelines: Pipelines,
    recorder: Mutex<Recorder>,
    /// Timestamps of the submissions so far, while the device is profiled.
    stamps: Mutex<Option<Vec<Stamps>>>,
    memories: AtomicU64,
    submissions: AtomicU64,
    poison: Poison,
    /// Waits for submissions where the host does not do so by itself.
    poller: Option<host::Worker<Wanted>>,
    checked: bool,
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
        let pipelines = Pipelines::new(device.clone(), poison.clone(), saved);
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
            stamps: Mutex::default(),
            memories: AtomicU64::new(0),
            submissions: AtomicU64::new(0),
            poison,
            poller,
            checked: super::checked(),
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

    /// From here on, dispatches are timed.
    pub fn start_profile(&self) -> Result<()> {
        self.flush()?;
        *self.stamps.lock().expect("stamps") = Some(Vec::new());
        Ok(())
    }

    /// Ends that, and reads what was measured.
    pub async fn end_profile(&self) -> Result<Tally> {
        let flushed = self.flush();
        let stamps = self.stamps.lock().expect("stamps").take().unwrap_or_default();
        flushed?;
        let mut tally = Tally::default();
        for stamps in stamps {
            stamps.add_to(&mut tally, self, self.queue.get_timestamp_period()).await?;
        }
        Ok(tally)
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
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer =
            self.device.create_buffer(&wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation });
        let p = self.poison.clone();
        let late = move |error: Option<wgpu::Error>| error.iter().for_each(|e| p.reported(e));
        let failure = host::settle(scope.pop(), late).flatten();
        Ok(failure.is_none().then_some(buffer))
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

    /// Uploads in their turn among the recorded work, through memory of their own: that of wgpu's queue ends the device
    /// where there is none left.
    pub fn write(&self, buffer: &wgpu::Buffer, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let size = bytes.len() as u64;
        let staging = self.staging("upload", size, wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC)?;
        let refused = |reason: String| Error::Validation { during: "upload".into(), reason };
        staging.get_mapped_range_mut(..).map_err(|e| refused(e.to_string()))?.copy_from_slice(bytes);
        staging.unmap();
        self.copy(&staging, 0, buffer, 0, size)?;
        let mut recorder = self.recorder.lock().expect("recorder");
        recorder.staged += size;
        if recorder.staged > STAGED { self.submit(&mut recorder) } else { Ok(()) }
    }

    pub fn clear(&self, buffer: &wgpu::Buffer) -> Result<()> {
        self.record(Step::Clear(buffer.clone()))
    }

    pub fn copy(&self, from: &wgpu::Buffer, from_at: u64, to: &wgpu::Buffer, to_at: u64, bytes: u64) -> Result<()> {
        self.record(Step::Copy { from: from.clone(), from_at, to: to.clone(), to_at, bytes })
    }

    fn record(&self, step: Step) -> Result<()> {
        self.check()?;
        self.recorder.lock().expect("recorder").steps.push(step);
        Ok(())
    }

    /// Records a dispatch that is expected to take so many seconds.
    pub fn run(
        &self,
        name: &'static str,
        plan: &Plan,
        params: &[u8],
        operands: &[Operand<'_>],
        seconds: f64,
    ) -> Result<()> {
        self.check()?;
        let pipeline = self.pipelines.get(plan, operands.iter().map(Binding::from))?;
        let bind_group = pipeline.bind(&self.device, &self.uniforms, params.len(), operands);
        let mut recorder = self.recorder.lock().expect("recorder");
        let full = recorder.params.len() as u64 >= self.slot * BATCH;
        if full || recorder.seconds > 0.0 && recorder.seconds + seconds > SECONDS {
            self.submit(&mut recorder)?;
        }
        self.poison.record(name);
        recorder.seconds += seconds;
        let at = recorder.params.len();
        recorder.params.extend_from_slice(params);
        recorder.params.resize(at + self.slot as usize, 0);
        let (params_at, groups) = (at as u32, plan.groups);
        recorder.steps.push(Step::Dispatch(Dispatch { name, pipeline, bind_group, params_at, groups }));
        Ok(())
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

    /// Waits until all submitted work is done and what it held is free.
    pub fn settle(&self) -> Result<()> {
        self.wait(None)
    }

    pub fn flush(&self) -> Result<()> {
        self.check()?;
        self.submit(&mut self.recorder.lock().expect("recorder"))
    }

    fn submit(&self, recorder: &mut Recorder) -> Result<()> {
        if recorder.steps.is_empty() {
            return Ok(());
        }
        self.queue.write_buffer(&self.uniforms, 0, &recorder.params);
        recorder.params.clear();
        (recorder.staged, recorder.seconds) = (0, 0.0);
        self.submissions.fetch_add(1, Ordering::Relaxed);
        let mut encoder =
            self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("minoise") });
        let mut profile = self.stamps.lock().expect("stamps");
        let mut stamps = profile.as_ref().map(|_| {
            let dispatches = recorder.steps.iter().filter(|step| matches!(step, Step::Dispatch(_))).count();
            Stamps::new(&self.device, dispatches as u32)
        });
        let mut steps = recorder.steps.drain(..).peekable();
        while let Some(step) = steps.next() {
            match step {
                Step::Copy { from, from_at, to, to_at, bytes } => {
                    encoder.copy_buffer_to_buffer(&from, from_at, &to, to_at, bytes);
                }
                Step::Clear(buffer) => encoder.clear_buffer(&buffer, 0, None),
                Step::Dispatch(first) => {
                    // A pass is called after its first kernel; profiled, each dispatch is one of its own.
                    let timestamp_writes = stamps.as_mut().map(|stamps| stamps.next(first.name));
                    let alone = timestamp_writes.is_some();
                    let label = Some(first.name);
                    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label, timestamp_writes });
                    let mut next = Some(Step::Dispatch(first));
                    while let Some(Step::Dispatch(dispatch)) = next {
                        if self.checked {
                            pass.insert_debug_marker(dispatch.name);
                        }
                        dispatch.encode(&mut pass);
                        next = steps.next_if(|s| !alone && matches!(s, Step::Dispatch(_)));
                    }
                }
            }
        }
        drop(steps);
        if let (Some(stamps), Some(profile)) = (stamps, &mut *profile) {
            stamps.resolve(&mut encoder);
            profile.push(stamps);
        }
        drop(profile);
        let index = self.queue.submit([encoder.finish()]);
        recorder.in_flight.push_back(index);
        if recorder.in_flight.len() > IN_FLIGHT {
            let oldest = recorder.in_flight.pop_front();
            self.wait(oldest)?;
        }
        self.check()
    }

    fn wait(&self, index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let wait = wgpu::PollType::Wait { submission_index: index, timeout: Some(TIMEOUT) };
        if let Err(e) = self.device.poll(wait) {
            self.poison.lost(e.to_string());
        }
        self.check()
    }

    pub async fn finish(&self) -> Result<()> {
        self.flush()?;
        self.poll_for(self.queue.submit([])).await;
        self.check()
    }

    /// Waits until `index` is done or the device is lost.
    async fn poll_for(&self, index: wgpu::SubmissionIndex) {
        let (done, waiting) = oneshot::channel();
        match &self.poller {
            Some(poller) => poller.send((index, done)),
            None => self.queue.on_submitted_work_done(move || done.send(()).unwrap_or(())),
        }
        if waiting.await.is_err() {
            self.poison.lost("nobody waits for it any more".into());
        }
    }

    /// Copies the first `bytes` bytes of `buffer` to the host.
    pub async fn read(&self, buffer: &wgpu::Buffer, bytes: usize) -> Result<Vec<u8>> {
        self.check()?;
        if bytes == 0 {
            return Ok(Vec::new());
        }
        let padded = (bytes as u64).next_multiple_of(4);
        let staging = self.staging("read back", padded, wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ)?;
        self.copy(buffer, 0, &staging, 0, padded)?;
        self.flush()?;
        let (done, mapped) = oneshot::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| drop(done.send(result)));
        self.poll_for(self.queue.submit([])).await;
        self.check()?;
        let lost = |reason: String| Error::DeviceLost { during: "read back".into(), reason };
        // The answer may still be in the hands of another thread that polled, at back-pressure, before this one did.
        match mapped.await {
            Ok(outcome) => outcome.map_err(|e| lost(e.to_string()))?,
            Err(_) => return Err(lost("its wait ended without an answer".into())),
        }
        let view = staging.get_mapped_range(..).map_err(|e| lost(e.to_string()))?;
        Ok(view[..bytes].to_vec())
    }
}
