//! A Vulkan driver's own statistics of a compute pipeline, which it compiles as it would for wgpu.

use std::ffi::{CStr, c_char};

use ash::{khr, vk};
use minoise::device::{Caps, capabilities};
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};

type Failure = Box<dyn std::error::Error>;

/// What a driver says of one pipeline.
#[derive(Debug)]
pub struct Report {
    pub subgroup: u32,
    /// Names and values differ from driver to driver.
    pub statistics: Vec<(String, f64)>,
    /// The driver's last internal representation: the instructions of the GPU, where it shows them.
    pub instructions: String,
}

/// A logical device on the first physical one.
pub struct Driver {
    device: ash::Device,
    executables: khr::pipeline_executable_properties::Device,
    /// Of all pipelines.
    stage_flags: vk::PipelineShaderStageCreateFlags,
    /// Holds the library that all calls go to.
    _entry: ash::Entry,
}

fn text(chars: &[c_char]) -> String {
    // SAFETY: Vulkan ends its names with a zero inside the array.
    unsafe { CStr::from_ptr(chars.as_ptr()) }.to_string_lossy().into_owned()
}

impl Driver {
    /// With the features that wgpu requests for `caps`.
    ///
    /// # Errors
    /// No Vulkan, no device, or a driver that tells no statistics.
    pub fn open(caps: &Caps) -> Result<Self, Failure> {
        // SAFETY: the handles live as long as the process; every structure is alive during the call that takes it.
        unsafe {
            let entry = ash::Entry::load()?;
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let instance = entry.create_instance(&vk::InstanceCreateInfo::default().application_info(&app), None)?;
            let physical = *instance.enumerate_physical_devices()?.first().ok_or("no Vulkan device")?;
            let offered = instance.enumerate_device_extension_properties(physical)?;
            let offers = |name: &CStr| offered.iter().any(|e| e.extension_name_as_c_str() == Ok(name));
            if !offers(khr::pipeline_executable_properties::NAME) {
                return Err("the driver tells no statistics of pipelines".into());
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
            let mut stored = vk::PhysicalDevice16BitStorageFeatures::default().storage_buffer16_bit_access(true);
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
            if caps.f16 {
                info = info.push_next(&mut halves).push_next(&mut stored);
            }
            if caps.matrix.is_some() {
                info = info.push_next(&mut matrices).push_next(&mut memory);
            }
            let device = instance.create_device(physical, &info, None)?;
            let executables = khr::pipeline_executable_properties::Device::new(&instance, &device);
            let varying = vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE;
            let stage_flags = if caps.subgroup.1 > 0 { varying } else { vk::PipelineShaderStageCreateFlags::empty() };
            Ok(Self { device, executables, stage_flags, _entry: entry })
        }
    }

    /// Compiles the only entry point of `module`, unchecked as in release.
    ///
    /// # Errors
    /// naga's and the driver's.
    pub fn compile(&self, module: &naga::Module) -> Result<Report, Failure> {
        let code = spirv(module)?;
        let bindings: Vec<_> = module
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
            let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let sets = [device.create_descriptor_set_layout(&set, None)?];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = device.create_pipeline_layout(&layout, None)?;
            let shader = device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(&code), None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default().flags(self.stage_flags);
            let stage = stage.stage(vk::ShaderStageFlags::COMPUTE).module(shader).name(c"main");
            let flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let info = vk::ComputePipelineCreateInfo::default().flags(flags).layout(layout).stage(stage);
            let made = device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None);
            let pipeline = made.map_err(|(_, e)| e)?[0];
            let report = self.report(pipeline);
            device.destroy_pipeline(pipeline, None);
            device.destroy_shader_module(shader, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(sets[0], None);
            report
        }
    }

    fn report(&self, pipeline: vk::Pipeline) -> Result<Report, Failure> {
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(0);
        // SAFETY: `pipeline` is this device's; each union is read by the format that stands beside it.
        unsafe {
            let of = vk::PipelineInfoKHR::default().pipeline(pipeline);
            let executables = self.executables.get_pipeline_executable_properties(&of)?;
            let [executable] = executables.as_slice() else { return Err("not one executable".into()) };
            let statistics = self.executables.get_pipeline_executable_statistics(&info)?;
            let value = |s: &vk::PipelineExecutableStatisticKHR<'_>| match s.format {
                vk::PipelineExecutableStatisticFormatKHR::FLOAT64 => s.value.f64,
                vk::PipelineExecutableStatisticFormatKHR::INT64 => s.value.i64 as f64,
                vk::PipelineExecutableStatisticFormatKHR::BOOL32 => f64::from(s.value.b32),
                _ => s.value.u64 as f64,
            };
            Ok(Report {
                subgroup: executable.subgroup_size,
                statistics: statistics.iter().map(|s| (text(&s.name), value(s))).collect(),
                instructions: self.instructions(&info)?,
            })
        }
    }

    fn instructions(&self, info: &vk::PipelineExecutableInfoKHR<'_>) -> Result<String, Failure> {
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

/// The words that wgpu hands to the driver: nothing checked, bounded or zeroed.
fn spirv(module: &naga::Module) -> Result<Vec<u32>, Failure> {
    let info = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities()).validate(module)?;
    let free = BoundsCheckPolicy::Unchecked;
    let options = spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::empty(),
        bounds_check_policies: BoundsCheckPolicies { index: free, buffer: free, image_load: free, binding_array: free },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..spv::Options::default()
    };
    Ok(spv::write_vec(module, &info, &options, None)?)
}
