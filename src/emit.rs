//! Kernels in the languages of the drivers, written by naga with the options that wgpu-hal 30 gives it for a release build:
//! nothing checked, bounded or zeroed.

use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage, TypeInner};

use crate::device::{Plan, assemble, capabilities, validate};
use crate::{Error, Result};

/// A language that a kernel can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lower")]
pub enum Language {
    /// As wgpu takes it, with imports resolved and constants in place.
    Wgsl,
    /// SPIR-V 1.6 for Vulkan 1.3, in words of the host's order.
    SpirV,
    /// Metal Shading Language 2.3.
    Msl,
    /// HLSL of shader model 6.0, 6.2 where halves are used.
    Hlsl,
    /// GLSL 4.30.
    Glsl,
}

/// The validated shader of a plan.
#[derive(Debug)]
pub struct Shader {
    name: &'static str,
    source: String,
    module: Module,
    info: ModuleInfo,
    uses: Uses,
}

/// What decides the features that wgpu asks a device for.
#[derive(Debug)]
struct Uses {
    halves: bool,
    /// Side of the cooperative matrices.
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

impl Shader {
    /// Assembles and validates the shader of a plan.
    ///
    /// # Errors
    /// [`Error::Shader`] with the diagnostic of wesl or naga.
    pub fn of(plan: &Plan) -> Result<Self> {
        let source = assemble(plan)?;
        let module = validate(plan.shader, &source)?;
        let info = Validator::new(ValidationFlags::all(), capabilities())
            .validate(&module)
            .map_err(|e| Error::Shader { kernel: plan.shader.into(), message: e.emit_to_string(&source) })?;
        let uses = Uses::of(&module);
        Ok(Self { name: plan.shader, source, module, info, uses })
    }

    /// The WGSL.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What naga made of it.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// What naga's validator found out about it.
    pub fn info(&self) -> &ModuleInfo {
        &self.info
    }

    /// Whether naga can write it so: its MSL has cooperative matrices of 8 x 8 only, its HLSL none, its GLSL neither them nor
    /// halves. wgpu does not offer there what they lack.
    pub fn has_words_in(&self, language: Language) -> bool {
        let Uses { halves, matrix } = self.uses;
        match language {
            Language::Wgsl | Language::SpirV => true,
            Language::Msl => matrix != Some(16),
            Language::Hlsl => matrix.is_none(),
            Language::Glsl => matrix.is_none() && !halves,
        }
    }

    /// The whole shader in a language; its entry point is `main`, but for `main_` in MSL, where the word is taken.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the language has no words for it, [`Error::Shader`] with naga's diagnostic.
    pub fn written(&self, language: Language) -> Result<Vec<u8>> {
        if !self.has_words_in(language) {
            let name = self.name;
            return Err(Error::Unsupported(format!(
                "{language:?} has no words for what shader `{name}` uses (halves or cooperative matrices): take another plan, or spirv"
            )));
        }
        match language {
            Language::Wgsl => Ok(self.source.clone().into_bytes()),
            Language::SpirV => Ok(bytemuck::cast_slice(&self.spirv()?).to_vec()),
            Language::Msl => self.metal().map(String::into_bytes),
            Language::Hlsl => self.directx().map(String::into_bytes),
            Language::Glsl => self.opengl().map(String::into_bytes),
        }
    }

    fn failed(&self, message: impl std::fmt::Display) -> Error {
        Error::Shader { kernel: self.name.into(), message: message.to_string() }
    }

    /// For Vulkan 1.3 (wgpu-hal's `vulkan/adapter.rs`); a shader may use what its features bring, and nothing else.
    ///
    /// # Errors
    /// [`Error::Shader`] with naga's diagnostic.
    pub fn spirv(&self) -> Result<Vec<u32>> {
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
        if self.uses.halves {
            capabilities.push(C::Float16);
        }
        if self.uses.matrix.is_some() {
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
            // No stage takes or gives halves.
            use_storage_input_output_16: false,
            ..spv::Options::default()
        };
        let entry = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into() };
        spv::write_vec(&self.module, &self.info, &options, Some(&entry)).map_err(|e| self.failed(e))
    }

    fn metal(&self) -> Result<String> {
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
        let written = msl::write_string(&self.module, &self.info, &options, &entry);
        written.map(|(text, _)| text).map_err(|e| self.failed(e))
    }

    /// The least shader model that serves, as a profile of DXC: DX12 devices without 6.0 are not offered where it compiles.
    pub fn shader_model(&self) -> &'static str {
        if self.uses.halves { "cs_6_2" } else { "cs_6_0" }
    }

    fn directx(&self) -> Result<String> {
        let options = hlsl::Options {
            shader_model: if self.uses.halves { hlsl::ShaderModel::V6_2 } else { hlsl::ShaderModel::V6_0 },
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
        let written = hlsl::Writer::new(&mut text, &options, &entry).write(&self.module, &self.info, None);
        let names = written.map_err(|e| self.failed(e))?.entry_point_names;
        match names.as_slice() {
            [Ok(name)] if name == "main" => Ok(text),
            other => Err(self.failed(format!("entry points {other:?}"))),
        }
    }

    fn opengl(&self) -> Result<String> {
        let options = glsl::Options {
            version: glsl::Version::Desktop(430),
            zero_initialize_workgroup_memory: false,
            ..glsl::Options::default()
        };
        let entry =
            glsl::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into(), multiview: None };
        let mut text = String::new();
        let checks = BoundsCheckPolicies::default();
        glsl::Writer::new(&mut text, &self.module, &self.info, &options, &entry, checks)
            .and_then(|mut writer| writer.write())
            .map_err(|e| self.failed(e))?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spv::Capability as C;

    #[test]
    fn halves_declare_what_devices_are_asked_for() {
        let source = "enable f16;
            @group(0) @binding(0) var<storage, read_write> x: array<f16>;
            @compute @workgroup_size(64)
            fn main(@builtin(global_invocation_id) id: vec3<u32>) { x[id.x] *= 2.0h; }";
        let module = validate("halves", source).unwrap();
        let info = Validator::new(ValidationFlags::all(), capabilities()).validate(&module).unwrap();
        let uses = Uses::of(&module);
        let words = Shader { name: "halves", source: source.into(), module, info, uses }.spirv().unwrap();
        // OpCapability, of two words each, behind a header of five.
        let mut declared: Vec<u32> =
            words[5..].chunks_exact(2).take_while(|op| op[0] == (2 << 16) | 17).map(|op| op[1]).collect();
        declared.sort_unstable();
        let asked = [C::Shader, C::Float16, C::StorageBuffer16BitAccess, C::UniformAndStorageBuffer16BitAccess];
        assert_eq!(declared, asked.map(|capability| capability as u32));
    }
}
