//! A Vulkan driver's own statistics of a compute pipeline, which it compiles as it would for wgpu.

use std::ffi::{CStr, c_char};

use ash::{khr, vk};

use crate::device::{AdapterReport, Caps};
use crate::emit::Shader;
use crate::{Error, Result};

/// What a driver says of one pipeline.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Threads of a subgroup.
    pub subgroup: u32,
    /// Names and values differ from driver to driver.
    pub statistics: Vec<(String, f64)>,
    /// The driver's last internal representation: the instructions of the GPU, where it shows them.
    pub instructions: String,
}

/// What drivers call a figure: RADV, NVK, Turnip, Honeykrisp, then others. Several names are added.
const REGISTERS: &[&str] =
    &["VGPRs", "Number of GPRs", "Registers used", "GPRs", "Register Count", "Max live registers"];
const SPILLS: &[&str] = &["Spilled SGPRs", "Spilled VGPRs", "Spills to memory", "STP Count", "Spills", "Spill Count"];
const SCRATCH: &[&str] = &["Scratch size", "SLM size", "Scratch", "Scratch Memory Size"];
const OCCUPANCY: &[&str] = &["Subgroups per SIMD", "Max warps/SM", "Max Waves Per Core", "Threads"];

impl Report {
    fn sum(&self, names: &[&str]) -> Option<u64> {
        let found = self.statistics.iter().filter(|s| names.contains(&s.0.as_str()));
        found.map(|s| s.1 as u64).reduce(|a, b| a + b)
    }

    /// Registers of one thread, in the driver's own unit.
    pub fn registers(&self) -> Option<u64> {
        self.sum(REGISTERS)
    }

    /// Registers or accesses that went to memory for want of registers.
    pub fn spills(&self) -> Option<u64> {
        self.sum(SPILLS)
    }

    /// Bytes of private memory, of a subgroup (AMD) or a thread. Adreno's driver has no name for it and counts its accesses
    /// as spills.
    pub fn scratch(&self) -> Option<u64> {
        self.sum(SCRATCH)
    }

    /// What is resident at once: subgroups of a SIMD (AMD), a multiprocessor (NVIDIA) or a core (Adreno), threads of a
    /// workgroup (Apple).
    pub fn occupancy(&self) -> Option<u64> {
        self.sum(OCCUPANCY)
    }
}

/// A logical device of its own on an adapter.
pub struct Driver {
    device: ash::Device,
    executables: khr::pipeline_executable_properties::Device,
    /// Of all pipelines.
    stage_flags: vk::PipelineShaderStageCreateFlags,
    instance: ash::Instance,
    /// Holds the library that all calls go to.
    _entry: ash::Entry,
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: what was made of the device is destroyed; the instance has no other.
        unsafe {
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}

/// What a pipeline is made of; destroying what is still null does nothing.
struct Parts<'a> {
    device: &'a ash::Device,
    set: vk::DescriptorSetLayout,
    layout: vk::PipelineLayout,
    module: vk::ShaderModule,
}

impl Drop for Parts<'_> {
    fn drop(&mut self) {
        // SAFETY: they are this device's, and the pipeline is destroyed or was never made.
        unsafe {
            self.device.destroy_shader_module(self.module, None);
            self.device.destroy_pipeline_layout(self.layout, None);
            self.device.destroy_descriptor_set_layout(self.set, None);
        }
    }
}

fn text(chars: &[c_char]) -> String {
    // SAFETY: Vulkan ends its names with a zero inside the array.
    unsafe { CStr::from_ptr(chars.as_ptr()) }.to_string_lossy().into_owned()
}

fn refused(why: impl std::fmt::Display) -> Error {
    Error::Unsupported(format!("no statistics of pipelines: {why}"))
}

impl Driver {
    /// A device of the adapter, with the features that wgpu requests for `caps`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where there is no Vulkan, or its driver tells no statistics.
    pub fn open(adapter: &AdapterReport, caps: &Caps) -> Result<Self> {
        if adapter.backend != "vulkan" {
            return Err(refused(format!("Vulkan drivers tell them, and this is {}", adapter.backend)));
        }
        // SAFETY: loads the system's Vulkan loader, as wgpu did for this adapter.
        let entry = unsafe { ash::Entry::load() }.map_err(refused)?;
        let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let info = vk::InstanceCreateInfo::default().application_info(&app);
        // SAFETY: the structures are alive during the call.
        let instance = unsafe { entry.create_instance(&info, None) }.map_err(refused)?;
        match Self::logical(&instance, adapter, caps) {
            Ok((device, executables)) => {
                let varying = vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE;
                let stage_flags =
                    if caps.subgroup.1 > 0 { varying } else { vk::PipelineShaderStageCreateFlags::empty() };
                Ok(Self { device, executables, stage_flags, instance, _entry: entry })
            }
            Err(error) => {
                // SAFETY: nothing was made of it.
                unsafe { instance.destroy_instance(None) };
                Err(error)
            }
        }
    }

    fn logical(
        instance: &ash::Instance,
        adapter: &AdapterReport,
        caps: &Caps,
    ) -> Result<(ash::Device, khr::pipeline_executable_properties::Device)> {
        // SAFETY: the handles are this instance's; every structure is alive during the call that takes it.
        unsafe {
            let all = instance.enumerate_physical_devices().map_err(refused)?;
            let physical = all.into_iter().find(|&physical| named(instance, physical, adapter));
            let physical = physical.ok_or_else(|| refused("Vulkan shows no such adapter by itself"))?;
            let version = instance.get_physical_device_properties(physical).api_version;
            if version < vk::API_VERSION_1_3 {
                let (major, minor) = (vk::api_version_major(version), vk::api_version_minor(version));
                return Err(refused(format!("Vulkan 1.3 is needed, and the driver has {major}.{minor}")));
            }
            let offered = instance.enumerate_device_extension_properties(physical).map_err(refused)?;
            let offers = |name: &CStr| offered.iter().any(|e| e.extension_name_as_c_str() == Ok(name));
            if !offers(khr::pipeline_executable_properties::NAME) {
                return Err(refused("the driver lacks VK_KHR_pipeline_executable_properties"));
            }
            // wgpu asks for robust buffers wherever they are offered, and compilers make other code for them.
            let mut names = vec![khr::pipeline_executable_properties::NAME.as_ptr()];
            let mut found2 = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
            let robust2 = offers(ash::ext::robustness2::NAME);
            let mut features = vk::PhysicalDeviceFeatures2::default();
            if robust2 {
                names.push(ash::ext::robustness2::NAME.as_ptr());
                features = features.push_next(&mut found2);
            }
            instance.get_physical_device_features2(physical, &mut features);
            let robust =
                vk::PhysicalDeviceFeatures::default().robust_buffer_access(features.features.robust_buffer_access != 0);
            let mut wanted2 = vk::PhysicalDeviceRobustness2FeaturesEXT::default()
                .robust_buffer_access2(found2.robust_buffer_access2 != 0)
                .robust_image_access2(found2.robust_image_access2 != 0);
            let mut wanted =
                vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
            let mut halves = vk::PhysicalDeviceShaderFloat16Int8Features::default().shader_float16(true);
            let mut stored = vk::PhysicalDevice16BitStorageFeatures::default()
                .storage_buffer16_bit_access(true)
                .uniform_and_storage_buffer16_bit_access(true);
            let mut subgroups = vk::PhysicalDeviceSubgroupSizeControlFeatures::default().subgroup_size_control(true);
            let mut matrices = vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default().cooperative_matrix(true);
            let mut memory = vk::PhysicalDeviceVulkanMemoryModelFeatures::default()
                .vulkan_memory_model(true)
                .vulkan_memory_model_device_scope(true);
            if caps.matrix.is_some() {
                names.push(khr::cooperative_matrix::NAME.as_ptr());
            }
            let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
            let mut info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&names)
                .enabled_features(&robust)
                .push_next(&mut wanted);
            if robust2 {
                info = info.push_next(&mut wanted2);
            }
            if caps.subgroup.1 > 0 {
                info = info.push_next(&mut subgroups);
            }
            if caps.f16 {
                info = info.push_next(&mut halves).push_next(&mut stored);
            }
            if caps.matrix.is_some() {
                info = info.push_next(&mut matrices).push_next(&mut memory);
            }
            let device = instance.create_device(physical, &info, None).map_err(refused)?;
            let executables = khr::pipeline_executable_properties::Device::new(instance, &device);
            Ok((device, executables))
        }
    }

    /// Compiles a shader, unchecked as in release.
    ///
    /// # Errors
    /// [`Error::Shader`] with naga's diagnostic, [`Error::Unsupported`] with the driver's.
    pub fn compile(&self, shader: &Shader) -> Result<Report> {
        let code = shader.spirv()?;
        let bindings: Vec<_> = shader
            .module()
            .global_variables
            .iter()
            .filter_map(|(_, global)| {
                let kind = match global.space {
                    naga::AddressSpace::Uniform => vk::DescriptorType::UNIFORM_BUFFER_DYNAMIC,
                    _ => vk::DescriptorType::STORAGE_BUFFER,
                };
                let at = global.binding.as_ref()?.binding;
                let binding = vk::DescriptorSetLayoutBinding::default().binding(at).descriptor_count(1);
                Some(binding.descriptor_type(kind).stage_flags(vk::ShaderStageFlags::COMPUTE))
            })
            .collect();
        // SAFETY: the handles are this device's and not yet destroyed; every structure is alive during its call.
        unsafe {
            let device = &self.device;
            let mut parts = Parts {
                device,
                set: vk::DescriptorSetLayout::null(),
                layout: vk::PipelineLayout::null(),
                module: vk::ShaderModule::null(),
            };
            let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            parts.set = device.create_descriptor_set_layout(&set, None).map_err(refused)?;
            let sets = [parts.set];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            parts.layout = device.create_pipeline_layout(&layout, None).map_err(refused)?;
            let module = vk::ShaderModuleCreateInfo::default().code(&code);
            parts.module = device.create_shader_module(&module, None).map_err(refused)?;
            let stage = vk::PipelineShaderStageCreateInfo::default().flags(self.stage_flags);
            let stage = stage.stage(vk::ShaderStageFlags::COMPUTE).module(parts.module).name(c"main");
            let flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let info = vk::ComputePipelineCreateInfo::default().flags(flags).layout(parts.layout).stage(stage);
            let made = device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None);
            let pipeline = made.map_err(|(_, e)| refused(e))?[0];
            let report = self.report(pipeline);
            device.destroy_pipeline(pipeline, None);
            report
        }
    }

    fn report(&self, pipeline: vk::Pipeline) -> Result<Report> {
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(0);
        // SAFETY: `pipeline` is this device's; each union is read by the format that stands beside it.
        unsafe {
            let of = vk::PipelineInfoKHR::default().pipeline(pipeline);
            let executables = self.executables.get_pipeline_executable_properties(&of).map_err(refused)?;
            let executable = executables.first().ok_or_else(|| refused("the driver shows no executable"))?;
            let statistics = self.executables.get_pipeline_executable_statistics(&info).map_err(refused)?;
            let value = |s: &vk::PipelineExecutableStatisticKHR<'_>| match s.format {
                vk::PipelineExecutableStatisticFormatKHR::FLOAT64 => s.value.f64,
                vk::PipelineExecutableStatisticFormatKHR::INT64 => s.value.i64 as f64,
                vk::PipelineExecutableStatisticFormatKHR::BOOL32 => f64::from(s.value.b32),
                _ => s.value.u64 as f64,
            };
            Ok(Report {
                subgroup: executable.subgroup_size,
                statistics: statistics.iter().map(|s| (text(&s.name), value(s))).collect(),
                instructions: self.instructions(&info).map_err(refused)?,
            })
        }
    }

    fn instructions(&self, info: &vk::PipelineExecutableInfoKHR<'_>) -> ash::prelude::VkResult<String> {
        let call = self.executables.fp().get_pipeline_executable_internal_representations_khr;
        // SAFETY: called first for the number, then for the sizes, then with buffers of these sizes.
        let bytes = unsafe {
            let (device, mut count) = (self.device.handle(), 0);
            call(device, info, &mut count, std::ptr::null_mut()).result()?;
            let mut found = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
            call(device, info, &mut count, found.as_mut_ptr()).result()?;
            let mut buffers: Vec<Vec<u8>> = found.iter().map(|x| vec![0; x.data_size]).collect();
            found.iter_mut().zip(&mut buffers).for_each(|(x, b)| x.p_data = b.as_mut_ptr().cast());
            call(device, info, &mut count, found.as_mut_ptr()).result()?;
            buffers.pop().unwrap_or_default()
        };
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\0').into())
    }
}

/// Whether a physical device is the adapter, by the names that wgpu takes from the same structures.
///
/// # Safety
/// `physical` is a handle of `instance`.
unsafe fn named(instance: &ash::Instance, physical: vk::PhysicalDevice, adapter: &AdapterReport) -> bool {
    let mut driver = vk::PhysicalDeviceDriverProperties::default();
    let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
    // SAFETY: as asked of the caller; the structures are alive during the call.
    unsafe { instance.get_physical_device_properties2(physical, &mut properties) };
    let name = text(&properties.properties.device_name);
    let driver = format!("{} {}", text(&driver.driver_name), text(&driver.driver_info));
    name == adapter.name && driver.trim() == adapter.driver
}
