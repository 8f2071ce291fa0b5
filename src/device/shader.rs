//! From a file in `shaders/` and the constants of a plan to a validated naga module.

use std::borrow::Cow;

use wesl::syntax::{ModulePath, PathOrigin};
use wesl::{CompileOptions, Feature, Features, NoMangler, Resolver, VirtualResolver};

use super::{Constant, Plan};
use crate::{Error, Result};

macro_rules! sources {
    ($($path:literal),* $(,)?) => {
        /// Every shader file: module path below `shaders/`, text.
        pub const SOURCES: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../shaders/", $path, ".wgsl")))),*];
    };
}
sources![
    "lib/attention",
    "lib/attention_backward",
    "lib/attention_rows",
    "lib/gemm_stage",
    "lib/gemm_tile",
    "lib/gram",
    "lib/math",
    "lib/noise_layer",
    "lib/noise_mean",
    "lib/pair",
    "lib/pair_product",
    "lib/philox",
    "lib/score_tile",
    "activation_backward",
    "adamw",
    "add",
    "argmax",
    "attention",
    "attention_backward_key",
    "attention_backward_key_rows",
    "attention_backward_query",
    "attention_backward_query_rows",
    "attention_rows",
    "cg_direction",
    "cg_step",
    "cholesky_block",
    "clip_factor",
    "column_sum",
    "column_unit",
    "copy_block",
    "cross_entropy",
    "dropout",
    "error_free",
    "fma_chains",
    "gemm",
    "gemm_half",
    "gemm_matrix",
    "gemm_rows",
    "gemm_shuffle",
    "glu",
    "glu_backward",
    "gram",
    "gram_rows",
    "inner_product",
    "jacobi_scale",
    "label_sum",
    "layernorm",
    "layernorm_backward",
    "layernorm_backward_rows",
    "layernorm_rows",
    "mean_map",
    "mean_map_backward",
    "mixture",
    "mixture_backward",
    "multiply",
    "noise_combine",
    "noise_mix",
    "noise_mix_backward",
    "noise_mix_backward_rows",
    "noise_mix_rows",
    "normalise",
    "pack_halves",
    "pair_product",
    "pair_product_rows",
    "patch_embed",
    "philox_normal",
    "quarter_turn",
    "root_ratio",
    "root_ratio_backward",
    "rotary",
    "row_unit",
    "row_unit_backward",
    "scale_columns",
    "scaled_tile",
    "sgd",
    "square_sum",
    "stream_copy",
    "tanh",
    "token_mean",
    "token_mean_backward",
    "top_k",
    "triangular_rows",
    "unfold",
    "unpack_halves",
];

/// The kernel that a shader is another variant of, by its ending: `_rows` for software devices, `_half` with f16
/// arithmetic, `_matrix` with cooperative matrices, `_shuffle` with operands of neighbouring lanes.
pub fn variant_of(shader: &str) -> Option<&str> {
    let kernel = ["_rows", "_half", "_matrix", "_shuffle"].iter().find_map(|ending| shader.strip_suffix(ending))?;
    SOURCES.iter().any(|s| s.0 == kernel).then_some(kernel)
}

/// The name of every kernel: a shader that is neither shared nor another variant's.
pub fn kernels() -> impl Iterator<Item = &'static str> {
    SOURCES.iter().map(|s| s.0).filter(|name| !name.starts_with("lib/") && variant_of(name).is_none())
}

/// What naga lets shaders use; all but the conversion of packed halves only those that `enable` it.
pub fn capabilities() -> naga::valid::Capabilities {
    use naga::valid::Capabilities as C;
    C::SHADER_FLOAT16_IN_FLOAT32 | C::SHADER_FLOAT16 | C::COOPERATIVE_MATRIX | C::SUBGROUP
}

/// Resolves imports and `@if` of `plan.shader`; constants arrive as the module `package::plan`.
///
/// # Errors
/// [`Error::Shader`] with wesl's diagnostic.
pub fn assemble(plan: &Plan) -> Result<String> {
    let fail = |message: String| Error::Shader { kernel: plan.shader.into(), message };
    let module = |path: &str| ModulePath::new(PathOrigin::Absolute, path.split('/').map(String::from).collect());
    let mut resolver = VirtualResolver::new();
    for (path, text) in SOURCES {
        resolver.add_module(module(path), Cow::Borrowed(text));
    }
    let mut constants = String::new();
    let mut features = Features { default: Feature::Error, ..Features::default() };
    for (name, value) in &plan.constants {
        match value {
            Constant::U32(x) => constants += &format!("const {name}: u32 = {x}u;\n"),
            Constant::Flag(x) => {
                features.flags.insert((*name).into(), if *x { Feature::Enable } else { Feature::Disable });
            }
        }
    }
    resolver.add_module(module("plan"), Cow::Owned(constants));
    let root = module(plan.shader);
    resolver.resolve_source(&root).map_err(|e| fail(e.to_string()))?;
    let options = CompileOptions { features, validate: false, ..CompileOptions::default() };
    let out = wesl::compile(&root, &resolver, &NoMangler, &options).map_err(|e| fail(e.to_string()))?;
    Ok(out.syntax.to_string())
}

/// Parses assembled WGSL; errors carry the offending line.
///
/// # Errors
/// [`Error::Shader`] with naga's diagnostic.
pub(super) fn parse(name: &str, source: &str) -> Result<naga::Module> {
    naga::front::wgsl::parse_str(source)
        .map_err(|e| Error::Shader { kernel: name.into(), message: e.emit_to_string(source) })
}

/// The same, validated. wgpu validates modules, too, but does not show the line.
///
/// # Errors
/// [`Error::Shader`] with naga's diagnostic.
pub fn validate(name: &str, source: &str) -> Result<naga::Module> {
    let fail = |message: String| Error::Shader { kernel: name.into(), message };
    let module = parse(name, source)?;
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities())
        .validate(&module)
        .map_err(|e| fail(e.emit_to_string(source)))?;
    Ok(module)
}
