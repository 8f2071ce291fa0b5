//! The queue: what is recorded, submitted, waited for and read back.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_channel::oneshot;

use super::Gpu;
use crate::device::pipeline::Pipeline;
use crate::device::profile::{Activity, Note};
use crate::device::{Binding, Operand, Plan};
use crate::{Error, Result};

/// What a submission may be expected to take, unless it is a single dispatch: watchdogs end a device after a second or
/// two, and a desktop waits meanwhile.
const SECONDS: f64 = 0.1;
/// Most dispatches of one submission; also the number of uniform slots.
pub(super) const BATCH: u64 = 128;
/// Submissions that may be in flight before recording waits for the oldest.
const IN_FLIGHT: usize = 4;
/// Bytes of uploads that are recorded before they are submitted.
const STAGED: u64 = 64 << 20;
/// A submission that takes longer counts as lost.
pub(super) const TIMEOUT: Duration = Duration::from_secs(300);

/// Work recorded and not yet submitted.
#[derive(Debug, Default)]
pub(super) struct Recorder {
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
    /// What is known of it, while the device is profiled.
    note: Option<Box<Note>>,
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

impl Gpu {
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
        note: Option<Note>,
    ) -> Result<()> {
        self.check()?;
        let _recording = self.profiler.span(Activity::Record(name), 0);
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
        let note = note.map(Box::new);
        recorder.steps.push(Step::Dispatch(Dispatch { name, pipeline, bind_group, params_at, groups, note }));
        Ok(())
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
        let noted = |step: &&Step| matches!(step, Step::Dispatch(Dispatch { note: Some(_), .. }));
        let unnoted = |step: &Step| matches!(step, Step::Dispatch(Dispatch { note: None, .. }));
        let mut stamps = self.stamps(recorder.steps.iter().filter(noted).count());
        let mut steps = recorder.steps.drain(..).peekable();
        while let Some(step) = steps.next() {
            match step {
                Step::Copy { from, from_at, to, to_at, bytes } => {
                    encoder.copy_buffer_to_buffer(&from, from_at, &to, to_at, bytes);
                }
                Step::Clear(buffer) => encoder.clear_buffer(&buffer, 0, None),
                Step::Dispatch(first) => {
                    // A pass is called after its first kernel; profiled, each dispatch is one of its own, called after its
                    // place as well. Groups would say that better, but those around passes crash lavapipe 22.3.
                    let note = first.note.as_deref().copied();
                    let label: Cow<'static, str> = match note {
                        Some(note) => format!("{} {}", note.place(), first.name).into(),
                        None => first.name.into(),
                    };
                    let timestamp_writes = note.zip(stamps.as_mut()).map(|(note, stamps)| stamps.next(note));
                    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                        label: Some(label.trim_start()),
                        timestamp_writes,
                    });
                    let mut next = Some(Step::Dispatch(first));
                    while let Some(Step::Dispatch(dispatch)) = next {
                        dispatch.encode(&mut pass);
                        next = steps.next_if(|step| note.is_none() && unnoted(step));
                    }
                }
            }
        }
        drop(steps);
        if let Some(stamps) = &stamps {
            stamps.resolve(&mut encoder);
        }
        let commands = encoder.finish();
        let submitted = self.profiler.now().unwrap_or_default();
        let submitting = self.profiler.span(Activity::Submit, 0);
        let index = self.queue.submit([commands]);
        drop(submitting);
        if let Some(stamps) = stamps {
            self.clock.submitted(stamps, submitted);
        }
        recorder.in_flight.push_back(index);
        if recorder.in_flight.len() > IN_FLIGHT {
            let oldest = recorder.in_flight.pop_front();
            self.wait(oldest)?;
        }
        self.check()
    }

    fn wait(&self, index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let _waiting = self.profiler.span(Activity::Wait, 0);
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
        let _waiting = self.profiler.span(Activity::Wait, 0);
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
