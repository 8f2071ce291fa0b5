//! Timestamps of a GPU around every dispatch.

use std::sync::{Arc, Mutex};

use futures_channel::oneshot;

use super::{Dispatched, Note};
use crate::{Error, Result};

/// Timestamps of one submission, two for each of its dispatches.
#[derive(Debug)]
pub(in crate::device) struct Stamps {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
    notes: Vec<Note>,
}

/// What came of them.
#[derive(Debug)]
struct Timed {
    ticks: Vec<u64>,
    notes: Vec<Note>,
    /// When the host submitted them.
    submitted: f64,
}

/// The timestamps of a GPU. Those of a submission are used again once it is done: some drivers have few.
#[derive(Debug, Default)]
pub(in crate::device) struct Clock {
    idle: Arc<Mutex<Vec<Stamps>>>,
    pending: Mutex<Vec<oneshot::Receiver<Timed>>>,
}

impl Stamps {
    /// For a submission of at most so many dispatches.
    pub fn new(device: &wgpu::Device, dispatches: u32) -> Self {
        let (label, count) = (Some("timestamps"), 2 * dispatches);
        let buffer = |usage| {
            let size = u64::from(count) * 8;
            device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false })
        };
        Self {
            set: device.create_query_set(&wgpu::QuerySetDescriptor { label, ty: wgpu::QueryType::Timestamp, count }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            staging: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
            notes: Vec::new(),
        }
    }

    /// The pass of the next dispatch.
    pub fn next(&mut self, note: Note) -> wgpu::ComputePassTimestampWrites<'_> {
        let at = 2 * self.notes.len() as u32;
        self.notes.push(note);
        wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(at),
            end_of_pass_write_index: Some(at + 1),
        }
    }

    /// Bytes of the timestamps.
    fn bytes(&self) -> u64 {
        self.notes.len() as u64 * 16
    }

    /// Brings them to where the host can read them, behind all passes.
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.set, 0..2 * self.notes.len() as u32, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.staging, 0, self.bytes());
    }
}

impl Clock {
    /// Those of a submission that is done, for the next one.
    pub fn idle(&self) -> Option<Stamps> {
        self.idle.lock().expect("stamps").pop()
    }

    /// Nobody asks for those that were submitted any more.
    pub fn forget(&self) {
        self.pending.lock().expect("stamps").clear();
    }

    /// Sees to it that they are read once the submission that holds them is done; it was `submitted` at that second.
    pub fn submitted(&self, mut stamps: Stamps, submitted: f64) {
        let (done, timed) = oneshot::channel();
        let idle = self.idle.clone();
        let (staging, bytes) = (stamps.staging.clone(), stamps.bytes());
        staging.clone().map_async(wgpu::MapMode::Read, ..bytes, move |mapped| {
            // Without an answer whoever waits for it is told that it is lost.
            let Some(view) = mapped.ok().and_then(|()| staging.get_mapped_range(..bytes).ok()) else { return };
            let ticks = bytemuck::pod_collect_to_vec(&view);
            drop(view);
            staging.unmap();
            let notes = std::mem::take(&mut stamps.notes);
            idle.lock().expect("stamps").push(stamps);
            // One that gave up needs no answer.
            let _ = done.send(Timed { ticks, notes, submitted });
        });
        self.pending.lock().expect("stamps").push(timed);
    }

    /// All dispatches since the last time, after the device has finished; a tick takes `period` nanoseconds.
    pub async fn timed(&self, period: f32) -> Result<Vec<Dispatched>> {
        let pending = std::mem::take(&mut *self.pending.lock().expect("stamps"));
        let mut all = Vec::new();
        for timed in pending {
            let lost = |_| Error::DeviceLost { during: "profile".into(), reason: "timestamps were lost".into() };
            all.push(timed.await.map_err(lost)?);
        }
        Ok(laid_out(&all, f64::from(period) * 1e-9))
    }
}

/// Dispatches on the host's clock. No submission begins before it is submitted, and one that finds the device idle begins at
/// once: that fixes the difference of the clocks, anew wherever the device's clock began again.
fn laid_out(all: &[Timed], tick: f64) -> Vec<Dispatched> {
    let mut laid: Vec<Dispatched> = Vec::new();
    for all in all.chunk_by(|a, b| a.ticks.first() <= b.ticks.first()) {
        let after = laid.last().map_or(f64::MIN, |d| d.end);
        laid.extend(laid_after(after, all, tick));
    }
    laid
}

/// The same while the clock goes on, none of them before the second `after`.
fn laid_after(after: f64, all: &[Timed], tick: f64) -> Vec<Dispatched> {
    // Ticks since the first: as floats they would lose their last bits.
    let first = all.iter().filter_map(|timed| timed.ticks.first()).min().copied().unwrap_or_default();
    let seconds = |ticks: u64| ticks.saturating_sub(first) as f64 * tick;
    let leads = all.iter().filter_map(|timed| Some(timed.submitted - seconds(*timed.ticks.first()?)));
    let shift = leads.fold(after, f64::max);
    let each = |timed: &Timed| {
        let pairs = timed.ticks.chunks_exact(2).map(|pair| [seconds(pair[0]), seconds(pair[1].max(pair[0]))]);
        let notes = timed.notes.iter().zip(pairs);
        notes.map(|(note, [start, end])| note.at(shift + start, shift + end)).collect::<Vec<_>>()
    };
    all.iter().flat_map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::profile::Profiler;

    fn timed(ticks: &[u64], submitted: f64) -> Timed {
        let note = Profiler::default().note("gemm", 0.0, &[]).unwrap();
        Timed { ticks: ticks.to_vec(), notes: vec![note; ticks.len() / 2], submitted }
    }

    fn assert_times(all: &[Timed], want: &[(f64, f64)]) {
        let times: Vec<_> = laid_out(all, 1e-6).iter().map(|d| (d.start, d.end)).collect();
        assert_eq!(times.len(), want.len());
        for (got, want) in times.iter().zip(want) {
            assert!((got.0 - want.0).abs() < 1e-9 && (got.1 - want.1).abs() < 1e-9, "{times:?}");
        }
    }

    #[test]
    fn clocks_are_laid_over_each_other() {
        // Ticks of a microsecond from some large number on; the second submission found the device at work.
        let from = u64::MAX - 1_000_000;
        let all = [
            timed(&[from + 10, from + 1010, from + 1100, from + 3100], 0.5),
            timed(&[from + 3110, from + 3100], 0.5015),
        ];
        assert_times(&all, &[(0.5, 0.501), (0.50109, 0.50309), (0.5031, 0.5031)]);
        assert_times(&[], &[]);
    }

    #[test]
    fn a_clock_may_begin_again() {
        // After 36 bits; what comes next was submitted before the device was free, the last one found it idle.
        let full = 1 << 36;
        let all = [timed(&[full - 5000, full - 1000], 0.5), timed(&[200, 700], 0.501), timed(&[9200, 9300], 0.515)];
        assert_times(&all, &[(0.5, 0.504), (0.506, 0.5065), (0.515, 0.5151)]);
        // Set back to where it never was, and never idle.
        let all = [timed(&[5000, 9000], 0.5), timed(&[200, 700], 0.501)];
        assert_times(&all, &[(0.5, 0.504), (0.504, 0.5045)]);
    }
}
