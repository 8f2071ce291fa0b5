//! Kernels in the languages of the drivers, written by naga with the options that wgpu-hal 30 gives it for a release build:
//! nothing checked, bounded or zeroed. With `MINOISE_EMIT=DIR` they become files, for the validators of those languages.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use minoise::device::{Constant, Plan};
use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::ModuleInfo;
use naga::{Module, ShaderStage, TypeInner};

/// The shader of a plan with its constants, as one word that is a file's name.
pub fn name(plan: &Plan) -> String {
    let mut name = plan.shader.replace('/', "_");
    for (constant, value) in &plan.constants {
        match value {
            Constant::U32(x) => write!(name, "-{constant}={x}").expect("a string takes all"),
            Constant::Flag(true) => write!(name, "-{constant}").expect("a string takes all"),
            Constant::Flag(false) => {}
        }
    }
    name
}

/// Where the files go, empty but for them.
pub fn folder() -> std::io::Result<Option<PathBuf>> {
    let folder = std::env::var_os("MINOISE_EMIT").map(PathBuf::from);
    folder.as_deref().map_or(Ok(()), std::fs::create_dir_all).map(|()| folder)
}

/// Writes a module in all four languages, but where wgpu does not offer there what it uses.
pub fn translate(name: &str, module: &Module, info: &ModuleInfo, folder: Option<&Path>) -> Result<(), String> {
    let save = |ending: &str, bytes: &[u8]| match folder {
        Some(folder) => std::fs::write(folder.join(format!("{name}.{ending}")), bytes).map_err(|e| e.to_string()),
        None => Ok(()),
    };
    let uses = Uses::of(module);
    save("spv", bytemuck::cast_slice(&spirv(module, info, &uses)?))?;
    // naga's MSL has matrices of 8 x 8 only, its HLSL none, its GLSL neither them nor halves.
    if uses.matrix != Some(16) {
        save("metal", metal(module, info)?.as_bytes())?;
    }
    if uses.matrix.is_none() {
        let (model, text) = directx(module, info, &uses)?;
        save(&format!("{model}.hlsl"), text.as_bytes())?;
    }
    if uses.matrix.is_none() && !uses.halves {
        save("comp", opengl(module, info)?.as_bytes())?;
    }
    Ok(())
}

/// What decides the features that wgpu asks a device for.
struct Uses {
    halves: bool,
    matrix: Option<u32>,
}

impl Uses {
    fn of(module: &Module) -> Self {
        let types = || module.types.iter().map(|(_, ty)| &ty.inner);
        let half =
            |ty: &TypeInner| matches!(ty, TypeInner::Scalar(s) | TypeInner::Vector { scalar: s, .. } if s.width == 2);
        let side = |ty: &TypeInner| match ty {
            TypeInner::CooperativeMatrix { rows, .. } => Some(*rows as u32),
            _ => None,
        };
        Self { halves: types().any(half), matrix: types().find_map(side) }
    }
}

const UNCHECKED: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Unchecked,
    buffer: BoundsCheckPolicy::Unchecked,
    image_load: BoundsCheckPolicy::Unchecked,
    binding_array: BoundsCheckPolicy::Unchecked,
};

/// For Vulkan 1.3 (wgpu-hal's `vulkan/adapter.rs`); a shader may use what its features bring, and nothing else.
fn spirv(module: &Module, info: &ModuleInfo, uses: &Uses) -> Result<Vec<u32>, String> {
    use spv::Capability as C;
    let mut capabilities = vec![
        C::Shader,
        C::Matrix,
        C::GroupNonUniform,
        C::GroupNonUniformVote,
        C::GroupNonUniformArithmetic,
        C::GroupNonUniformBallot,
        C::GroupNonUniformShuffle,
        C::GroupNonUniformShuffleRelative,
        C::GroupNonUniformQuad,
    ];
    if uses.halves {
        capabilities.push(C::Float16);
    }
    if uses.matrix.is_some() {
        capabilities.extend([C::CooperativeMatrixKHR, C::VulkanMemoryModel]);
    }
    let options = spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
        capabilities: Some(capabilities.into_iter().collect()),
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..spv::Options::default()
    };
    let entry = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into() };
    spv::write_vec(module, info, &options, Some(&entry)).map_err(|e| format!("SPIR-V: {e}"))
}

fn metal(module: &Module, info: &ModuleInfo) -> Result<String, String> {
    let options = msl::Options {
        // The first one with cooperative matrices.
        lang_version: (2, 3),
        fake_missing_bindings: true,
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..msl::Options::default()
    };
    let entry = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, "main".into())),
        vertex_pulling_transform: true,
        ..msl::PipelineOptions::default()
    };
    let written = msl::write_string(module, info, &options, &entry);
    written.map(|(text, _)| text).map_err(|e| format!("MSL: {e}"))
}

/// HLSL with the least shader model that serves: DX12 devices without 6.0 are not offered where DXC compiles.
fn directx(module: &Module, info: &ModuleInfo, uses: &Uses) -> Result<(&'static str, String), String> {
    let (model, shader_model) = match uses.halves {
        true => ("cs_6_2", hlsl::ShaderModel::V6_2),
        false => ("cs_6_0", hlsl::ShaderModel::V6_0),
    };
    let options = hlsl::Options {
        shader_model,
        fake_missing_bindings: true,
        // The number of workgroups comes from here; without it the writer panics.
        special_constants_binding: Some(hlsl::BindTarget { space: 255, ..hlsl::BindTarget::default() }),
        zero_initialize_workgroup_memory: false,
        restrict_indexing: false,
        force_loop_bounding: false,
        ..hlsl::Options::default()
    };
    let entry = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, "main".into())) };
    let mut text = String::new();
    let written = hlsl::Writer::new(&mut text, &options, &entry).write(module, info, None);
    let names = written.map_err(|e| format!("HLSL: {e}"))?.entry_point_names;
    match names.as_slice() {
        [Ok(name)] if name == "main" => Ok((model, text)),
        other => Err(format!("HLSL: entry points {other:?}")),
    }
}

fn opengl(module: &Module, info: &ModuleInfo) -> Result<String, String> {
    let options = glsl::Options {
        version: glsl::Version::Desktop(430),
        zero_initialize_workgroup_memory: false,
        ..glsl::Options::default()
    };
    let entry =
        glsl::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into(), multiview: None };
    let mut text = String::new();
    glsl::Writer::new(&mut text, module, info, &options, &entry, BoundsCheckPolicies::default())
        .and_then(|mut writer| writer.write())
        .map_err(|e| format!("GLSL: {e}"))?;
    Ok(text)
}
