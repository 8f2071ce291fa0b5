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
    /// A real GPU, of whatever backend.
    Gpu,
}

/// Limits and features that plans look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Caps {
    /// What kind of device it is.
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
    /// Storage bindings of one dispatch.
    pub storage_buffers: u32,
    /// Alignment of a uniform slot.
    pub uniform_alignment: u32,
    /// Smallest and largest subgroup, 0 where there are none.
    pub subgroup: (u32, u32),
    /// Whether multiply-adds may read registers of 16 neighbouring lanes, which compilers use on some of these devices.
    pub row_share: bool,
    /// Arithmetic with halves.
    pub f16: bool,
    /// Side of the cooperative matrices (16, else 8) whose halves multiply into f32 sums.
    pub matrix: Option<u32>,
    /// Whether a GPU can time single dispatches, as [`Device::profile`](super::Device::profile) does.
    pub timestamps: bool,
    /// Measured choices between plans.
    #[serde(skip)]
    pub tuned: Tuned,
}

/// PCI number of the vendor.
const AMD: u32 = 0x1002;
const MATRIX: wgpu::Features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;

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
            row_share: false,
            f16: false,
            matrix: None,
            timestamps: false,
            tuned: Tuned::default(),
        }
    }

    /// The CPU device: only memory limits it.
    pub fn cpu() -> Self {
        Self { class: DeviceClass::Cpu, max_binding: u64::MAX, max_buffer: u64::MAX, ..Self::floor() }
    }

    /// Workgroups that the device is taken to run at once: fewer leave a part of it idle. As measured, else that of a
    /// medium GPU.
    pub fn resident(&self) -> usize {
        self.tuned.resident().unwrap_or(64)
    }

    /// Seconds that `flops` operations on `bytes` bytes take on a slow device of this class: for what must not take too
    /// long, not for comparing plans.
    pub(super) fn seconds(&self, flops: f64, bytes: f64) -> f64 {
        let (gflops, gbytes) = match self.class {
            DeviceClass::Gpu => (100.0, 10.0),
            _ => (10.0, 4.0),
        };
        f64::max(flops / gflops, bytes / gbytes) * 1e-9
    }

    /// The caps that plans are tested with: of the floor, and of some GPUs as their drivers state them.
    pub fn profiles() -> [(&'static str, Self); 6] {
        const GIB: u64 = 1 << 30;
        let gpu = |max_binding, kib: u32, subgroup, f16, matrix| Self {
            max_binding,
            max_buffer: max_binding,
            workgroup_memory: kib << 10,
            max_invocations: 1024,
            storage_buffers: 32,
            uniform_alignment: 64,
            subgroup,
            f16,
            matrix,
            ..Self::floor()
        };
        [
            ("floor", Self::floor()),
            ("navi31", Self { row_share: true, ..gpu(2 * GIB - 4, 64, (32, 64), true, Some(16)) }),
            ("ampere", gpu(2 * GIB - 4, 48, (32, 32), true, Some(16))),
            ("adreno740", gpu(128 << 20, 32, (64, 128), false, None)),
            ("m1", gpu(2 * GIB - 4, 32, (32, 32), true, None)),
            ("intel", gpu(GIB, 64, (8, 32), true, None)),
        ]
    }

    /// The caps of that name.
    pub fn profile(name: &str) -> Option<Self> {
        Self::profiles().into_iter().find(|p| p.0 == name).map(|p| p.1)
    }

    /// The part of these caps that `adapter` can follow. Subgroups are as large as the adapter makes them.
    pub(super) fn within(self, adapter: &Self) -> Self {
        Self {
            class: self.class,
            max_binding: self.max_binding.min(adapter.max_binding),
            max_buffer: self.max_buffer.min(adapter.max_buffer),
            workgroup_memory: self.workgroup_memory.min(adapter.workgroup_memory),
            max_invocations: self.max_invocations.min(adapter.max_invocations),
            max_groups: self.max_groups.min(adapter.max_groups),
            storage_buffers: self.storage_buffers.min(adapter.storage_buffers),
            uniform_alignment: self.uniform_alignment.max(adapter.uniform_alignment),
            subgroup: if self.subgroup.1 > 0 { adapter.subgroup } else { (0, 0) },
            row_share: self.row_share,
            f16: self.f16 && adapter.f16,
            matrix: self.matrix.filter(|_| self.matrix == adapter.matrix),
            timestamps: adapter.timestamps,
            tuned: self.tuned,
        }
    }

    /// What is left of an adapter's caps once it is opened as a device: features that no kernel uses are not requested.
    pub fn opened(self) -> Self {
        let matrix = self.matrix.filter(|_| self.f16 && self.subgroup.1 > 0);
        Self { matrix, ..self }
    }

    /// The same device without cooperative matrices.
    pub(super) fn without_matrices(self) -> Self {
        Self { matrix: None, ..self }
    }

    /// What to request of the adapter for these caps.
    pub(super) fn features(&self) -> wgpu::Features {
        let mut features = wgpu::Features::empty();
        features.set(wgpu::Features::SHADER_F16, self.f16);
        features.set(wgpu::Features::SUBGROUP, self.subgroup.1 > 0);
        features.set(MATRIX, self.matrix.is_some());
        features.set(wgpu::Features::TIMESTAMP_QUERY, self.timestamps);
        features
    }

    pub(super) fn of(adapter: &wgpu::Adapter) -> Self {
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        let subgroup = match features.contains(wgpu::Features::SUBGROUP) {
            true => (info.subgroup_min_size, info.subgroup_max_size),
            false => (0, 0),
        };
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
            subgroup,
            // AMD's GPUs with subgroups of 32, RDNA and its successors.
            row_share: info.vendor == AMD && subgroup.0 == 32,
            f16: features.contains(wgpu::Features::SHADER_F16),
            matrix: if features.contains(MATRIX) { side(&adapter.cooperative_matrix_properties()) } else { None },
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            tuned: Tuned::default(),
        }
    }
}

/// The largest square that the adapter lists for halves with f32 sums; no one else checks that a shader's is among them.
fn side(listed: &[wgpu::CooperativeMatrixProperties]) -> Option<u32> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let fits = |p: &&wgpu::CooperativeMatrixProperties| (p.ab_type, p.cr_type) == (F16, F32);
    let square = |p: &wgpu::CooperativeMatrixProperties| p.m_size == p.n_size && p.n_size == p.k_size;
    listed.iter().filter(fits).filter(|p| square(p)).map(|p| p.m_size).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_kernels_use_is_requested() {
        let adapter = Caps { subgroup: (32, 64), f16: true, matrix: Some(16), timestamps: true, ..Caps::floor() };
        let time = wgpu::Features::TIMESTAMP_QUERY;
        let all = wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP | MATRIX | time;
        assert_eq!(adapter.clone().opened().features(), all);
        assert_eq!(adapter.clone().opened().without_matrices().features(), all - MATRIX);
        assert_eq!(Caps { f16: false, ..adapter.clone() }.opened().features(), wgpu::Features::SUBGROUP | time);
        assert_eq!(Caps { subgroup: (0, 0), ..adapter }.opened().features(), wgpu::Features::SHADER_F16 | time);
    }

    #[test]
    fn plans_of_another_gpu_stay_within_the_adapter() {
        let adapter = Caps { workgroup_memory: 32 << 10, subgroup: (8, 8), f16: true, ..Caps::floor() };
        for (name, caps) in Caps::profiles() {
            let both = caps.clone().within(&adapter);
            assert_eq!(both.class, DeviceClass::Gpu);
            assert!(both.workgroup_memory <= caps.workgroup_memory.min(32 << 10), "{name}");
            assert!(both.max_binding <= 128 << 20 && both.max_invocations <= 256, "{name}");
            assert_eq!(both.matrix, None, "{name}: the adapter has none");
            assert_eq!(both.f16, caps.f16, "{name}");
            assert_eq!(both.subgroup, if name == "floor" { (0, 0) } else { (8, 8) });
        }
    }

    #[test]
    fn of_the_listed_matrices_the_largest_square_of_halves_with_f32_sums_counts() {
        use wgpu::CooperativeScalarType::{F16, F32};
        let listed = |m_size, k_size, ab_type, cr_type| wgpu::CooperativeMatrixProperties {
            m_size,
            n_size: 16,
            k_size,
            ab_type,
            cr_type,
            saturating_accumulation: false,
        };
        assert_eq!(side(&[]), None);
        assert_eq!(side(&[listed(16, 16, F16, F16), listed(16, 8, F16, F32), listed(16, 16, F32, F32)]), None);
        assert_eq!(side(&[listed(8, 16, F16, F32), listed(16, 16, F16, F32)]), Some(16));
    }
}
