//! What a device can do, as plain numbers: plans are pure functions of these and are tested with faked ones.

use serde::Serialize;

use super::Tuned;

/// Broad class of a device, which decides between plans that are all correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceClass {
    /// Twins on the host's cores.
    Cpu,
    /// A Vulkan or GL implementation that runs on the CPU (lavapipe, SwiftShader).
    SoftwareGpu,
    Gpu,
}

/// Limits and features that plans look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Caps {
    pub class: DeviceClass,
    /// Bytes of one storage binding.
    pub max_binding: u64,
    /// Bytes of one buffer.
    pub max_buffer: u64,
    /// Bytes of workgroup memory.
    pub workgroup_memory: u32,
    /// Invocations of one workgroup.
    pub max_invocations: u32,
    /// Workgroups in each dimension of a dispatch.
    pub max_groups: u32,
    pub storage_buffers: u32,
    /// Alignment of a uniform slot.
    pub uniform_alignment: u32,
    /// Smallest and largest subgroup, 0 where there are none.
    pub subgroup: (u32, u32),
    pub f16: bool,
    pub timestamps: bool,
    /// Measured choices between plans.
    #[serde(skip)]
    pub tuned: Tuned,
}

impl Caps {
    /// The smallest device on which everything must work.
    pub fn floor() -> Self {
        Self {
            class: DeviceClass::Gpu,
            max_binding: 128 << 20,
            max_buffer: 256 << 20,
            workgroup_memory: 16 << 10,
            max_invocations: 256,
            max_groups: 65_535,
            storage_buffers: 8,
            uniform_alignment: 256,
            subgroup: (0, 0),
            f16: false,
            timestamps: false,
            tuned: Tuned::default(),
        }
    }

    /// The CPU device: only memory limits it.
    pub fn cpu() -> Self {
        Self { class: DeviceClass::Cpu, max_binding: u64::MAX, max_buffer: u64::MAX, ..Self::floor() }
    }

    pub(super) fn of(adapter: &wgpu::Adapter) -> Self {
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        let subgroups = features.contains(wgpu::Features::SUBGROUP);
        Self {
            class: match info.device_type {
                wgpu::DeviceType::Cpu => DeviceClass::SoftwareGpu,
                _ => DeviceClass::Gpu,
            },
            max_binding: limits.max_storage_buffer_binding_size,
            max_buffer: limits.max_buffer_size,
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            max_invocations: limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x),
            max_groups: limits.max_compute_workgroups_per_dimension,
            storage_buffers: limits.max_storage_buffers_per_shader_stage,
            uniform_alignment: limits.min_uniform_buffer_offset_alignment,
            subgroup: if subgroups { (info.subgroup_min_size, info.subgroup_max_size) } else { (0, 0) },
            f16: features.contains(wgpu::Features::SHADER_F16),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            tuned: Tuned::default(),
        }
    }
}
