//! Seconds by kernel: timestamps around every dispatch of a GPU, the host's clock on the CPU device.

use std::collections::BTreeMap;

use super::gpu::Gpu;
use super::{Backend, Device};
use crate::{Error, Result};

/// The dispatches of one kernel while profiling was on.
#[derive(Clone, Debug, PartialEq)]
pub struct Profiled {
    /// The kernel's name.
    pub kernel: &'static str,
    /// The number of its dispatches.
    pub count: u64,
    /// Seconds that all of them took.
    pub seconds: f64,
}

/// Dispatches and seconds by kernel.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<&'static str, (u64, f64)>);

impl Tally {
    pub fn add(&mut self, kernel: &'static str, seconds: f64) {
        let entry = self.0.entry(kernel).or_default();
        *entry = (entry.0 + 1, entry.1 + seconds);
    }

    fn list(self) -> Vec<Profiled> {
        let each = self.0.into_iter().map(|(kernel, (count, seconds))| Profiled { kernel, count, seconds });
        let mut list: Vec<_> = each.collect();
        list.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        list
    }
}

/// Timestamps of one submission, two for each dispatch.
#[derive(Debug)]
pub(super) struct Stamps {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    kernels: Vec<&'static str>,
}

impl Stamps {
    /// For so many dispatches.
    pub fn new(device: &wgpu::Device, dispatches: u32) -> Self {
        let count = 2 * dispatches.max(1);
        let set = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("timestamps"),
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let resolved = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("timestamps"),
            size: u64::from(count) * 8,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        Self { set, resolved, kernels: Vec::new() }
    }

    /// The pass of the next dispatch.
    pub fn next(&mut self, kernel: &'static str) -> wgpu::ComputePassTimestampWrites<'_> {
        let at = 2 * self.kernels.len() as u32;
        self.kernels.push(kernel);
        wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(at),
            end_of_pass_write_index: Some(at + 1),
        }
    }

    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.set, 0..2 * self.kernels.len() as u32, &self.resolved, 0);
    }

    /// Adds what was measured, in ticks of `period` nanoseconds.
    pub async fn add_to(self, tally: &mut Tally, gpu: &Gpu, period: f32) -> Result<()> {
        let bytes = gpu.read(&self.resolved, self.kernels.len() * 16).await?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
        for (kernel, pair) in self.kernels.into_iter().zip(ticks.chunks(2)) {
            tally.add(kernel, pair[1].saturating_sub(pair[0]) as f64 * f64::from(period) * 1e-9);
        }
        Ok(())
    }
}

impl Device {
    /// Runs `work` and tells the seconds that each kernel took in it, the slowest first. While this lasts, every dispatch
    /// is a pass of its own, by whichever thread; at other times nothing is measured and nothing costs.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the adapter has no timestamps; those of `work`; any failure of the queue.
    pub async fn profile<T>(&self, work: impl Future<Output = Result<T>>) -> Result<(T, Vec<Profiled>)> {
        match &self.0.backend {
            Backend::Gpu(_) if !self.0.caps.timestamps => {
                return Err(Error::Unsupported(format!("adapter {} has no timestamps", self.name())));
            }
            Backend::Gpu(gpu) => gpu.start_profile()?,
            Backend::Cpu(_) => *self.0.tally.lock().expect("tally") = Some(Tally::default()),
        }
        let result = work.await;
        let tally = match &self.0.backend {
            Backend::Gpu(gpu) => gpu.end_profile().await?,
            Backend::Cpu(_) => self.0.tally.lock().expect("tally").take().unwrap_or_default(),
        };
        Ok((result?, tally.list()))
    }
}
