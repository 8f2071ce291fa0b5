//! Compiled pipelines, and the bind groups that their dispatches share.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rayon::prelude::*;

use super::poison::Poison;
use super::profile::{Activity, Profiler};
use super::saved::Saved;
use super::{Access, Binding, Captured, Constant, Operand, Plan, shader};
use crate::{Error, Result, host};

type Constants = Vec<(&'static str, Constant)>;
type Key = (&'static str, Constants);

/// Bind groups that a pipeline keeps: a training step takes some dozens of the same ones every time, tiles of a large
/// matrix thousands that do not come again.
const KEPT: usize = 256;
/// Operands of a kernel.
const MOST: usize = 16;

#[derive(Debug)]
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    shader: &'static str,
    layout: wgpu::BindGroupLayout,
    /// By the numbers of their memory.
    bind_groups: Mutex<HashMap<Vec<u64>, wgpu::BindGroup>>,
}

impl Pipeline {
    /// The bind group of `params_bytes` bytes of `uniforms`, at the dispatch's own offset, and these tensors.
    pub fn bind(
        &self,
        device: &wgpu::Device,
        uniforms: &wgpu::Buffer,
        params_bytes: usize,
        operands: &[Operand<'_>],
    ) -> wgpu::BindGroup {
        let mut numbers = [0; MOST];
        let key = &mut numbers[..operands.len()];
        key.iter_mut().zip(operands).for_each(|(number, o)| *number = o.view.tensor.buffer.memory().id);
        let mut groups = self.bind_groups.lock().expect("bind groups");
        if let Some(found) = groups.get(&*key) {
            return found.clone();
        }
        let size = wgpu::BufferSize::new(params_bytes as u64);
        let uniform = wgpu::BufferBinding { buffer: uniforms, offset: 0, size };
        let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(uniform) }];
        entries.extend(
            operands
                .iter()
                .map(|o| (o.binding, o.view.tensor.buffer.gpu()))
                .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() }),
        );
        let made = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(self.shader),
            layout: &self.layout,
            entries: &entries,
        });
        if groups.len() >= KEPT {
            groups.clear();
        }
        groups.insert(key.to_vec(), made.clone());
        made
    }
}

/// Every pipeline of a device, compiled when it is first asked for.
#[derive(Debug)]
pub(super) struct Pipelines {
    device: wgpu::Device,
    poison: Poison,
    saved: Option<Saved>,
    made: Mutex<HashMap<&'static str, Vec<(Constants, Arc<Pipeline>)>>>,
    compile: Mutex<Duration>,
    profiler: Profiler,
}

impl Pipelines {
    pub fn new(device: wgpu::Device, poison: Poison, saved: Option<Saved>, profiler: Profiler) -> Self {
        Self { device, poison, saved, made: Mutex::default(), compile: Mutex::default(), profiler }
    }

    /// Seconds spent compiling (wall clock), and the number of pipelines.
    pub fn stats(&self) -> (f64, usize) {
        (
            self.compile.lock().expect("compile").as_secs_f64(),
            self.made.lock().expect("pipelines").values().map(Vec::len).sum(),
        )
    }

    /// Drops all bind groups: they hold their buffers.
    pub fn trim(&self) {
        for (_, pipeline) in self.made.lock().expect("pipelines").values().flatten() {
            pipeline.bind_groups.lock().expect("bind groups").clear();
        }
    }

    /// Drops the bind groups of this memory.
    pub fn forget(&self, memory: &HashSet<u64>) {
        for (_, pipeline) in self.made.lock().expect("pipelines").values().flatten() {
            let mut groups = pipeline.bind_groups.lock().expect("bind groups");
            groups.retain(|held, _| !held.iter().any(|number| memory.contains(number)));
        }
    }

    /// The pipeline of a plan whose tensors have these binding numbers.
    ///
    /// # Errors
    /// [`Error::Shader`].
    pub fn get(&self, plan: &Plan, bindings: impl Iterator<Item = Binding>) -> Result<Arc<Pipeline>> {
        if let Some(found) = self.find(plan) {
            return Ok(found);
        }
        let start = host::Instant::now();
        let _compiling = self.profiler.span(Activity::Compile(plan.shader), 0);
        let made = Arc::new(self.compile(plan, bindings)?);
        *self.compile.lock().expect("compile") += start.elapsed();
        self.keep(plan, made.clone());
        Ok(made)
    }

    fn find(&self, plan: &Plan) -> Option<Arc<Pipeline>> {
        let made = self.made.lock().expect("pipelines");
        made.get(plan.shader)?
            .iter()
            .find(|(constants, _)| *constants == plan.constants)
            .map(|(_, found)| found.clone())
    }

    fn keep(&self, plan: &Plan, pipeline: Arc<Pipeline>) {
        let mut made = self.made.lock().expect("pipelines");
        made.entry(plan.shader).or_default().push((plan.constants.clone(), pipeline));
    }

    /// Compiles all pipelines of a capture on all cores.
    pub fn compile_all(&self, captured: &[Captured]) -> Result<()> {
        let start = host::Instant::now();
        let _compiling = self.profiler.span(Activity::Compile(""), 0);
        let mut wanted: HashMap<Key, &Captured> = HashMap::new();
        for c in captured {
            wanted.insert((c.plan.shader, c.plan.constants.clone()), c);
        }
        wanted.retain(|_, c| self.find(&c.plan).is_none());
        let made: Vec<_> = wanted
            .into_par_iter()
            .map(|(_, c)| Ok((c, Arc::new(self.compile(&c.plan, c.bindings.iter().copied())?))))
            .collect::<Result<_>>()?;
        for (c, pipeline) in made {
            self.keep(&c.plan, pipeline);
        }
        *self.compile.lock().expect("compile") += start.elapsed();
        Ok(())
    }

    fn compile(&self, plan: &Plan, bindings: impl Iterator<Item = Binding>) -> Result<Pipeline> {
        let source = shader::assemble(plan)?;
        let read = if super::checked() { shader::validate } else { shader::parse };
        let module = read(plan.shader, &source)?;
        let entry = |binding: u32, ty| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            // The params of a dispatch are found by their offset, so that dispatches with the same tensors share a bind group.
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: binding == 0, min_binding_size: None },
            count: None,
        };
        let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform)];
        entries.extend(
            bindings.map(|b| entry(b.number, wgpu::BufferBindingType::Storage { read_only: b.access == Access::Read })),
        );
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(plan.shader),
            source: wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(module)),
        };
        let module = if super::checked() {
            self.device.create_shader_module(descriptor)
        } else {
            // SAFETY: the kernels compare every index with the sizes in their params, which come from the numbers that
            // their views are made of, and every view was found inside its tensor. Indices read from a buffer are
            // compared in the shader. Loops are bounded by params. The test suite runs the same shaders with all checks.
            unsafe { self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
        };
        let layout = self
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(plan.shader), entries: &entries });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(plan.shader),
            bind_group_layouts: &[Some(&layout)],
            ..wgpu::PipelineLayoutDescriptor::default()
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(plan.shader),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..wgpu::PipelineCompilationOptions::default()
            },
            cache: self.saved.as_ref().map(|saved| &saved.cache),
        });
        let settle = |scope: wgpu::ErrorScopeGuard| {
            let poison = self.poison.clone();
            let late = move |error: Option<wgpu::Error>| error.iter().for_each(|e| poison.reported(e));
            host::settle(scope.pop(), late).flatten()
        };
        let failures = [settle(internal), settle(scope)];
        if let Some(failure) = failures.into_iter().flatten().next() {
            return Err(Error::Shader { kernel: plan.shader.into(), message: failure.to_string() });
        }
        Ok(Pipeline { pipeline, shader: plan.shader, layout, bind_groups: Mutex::default() })
    }
}

/// Keeps what was compiled for the next process.
impl Drop for Pipelines {
    fn drop(&mut self) {
        if let Some(saved) = self.saved.as_ref().filter(|_| self.made.get_mut().is_ok_and(|made| !made.is_empty())) {
            saved.save();
        }
    }
}
