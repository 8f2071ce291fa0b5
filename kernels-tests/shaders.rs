//! Checks of the house that need no device: every kernel has its files, every plan's shader validates, its params and
//! bindings equal the Rust side's, and naga writes it in all four target languages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use minoise::device::{Access, Caps, Captured, Constant, DType, Device, DeviceClass, SOURCES, Scalar, variant_of};
use minoise::emit::Shader;
use naga::{AddressSpace, ShaderStage, StorageAccess, TypeInner};

use crate::harness::Example;
use crate::{emit, soundness};

pub fn trials(examples: Vec<Example>) -> Vec<Trial> {
    // What these shaders use has no words in those languages, nor does wgpu offer it there.
    let wordless = ["gemm_half in GLSL", "gemm_matrix in GLSL and HLSL, with 16 x 16 in MSL"];
    let wordless = wordless.map(|of| format!("house: {of} [naga cannot write it: not run]"));
    let mut trials = vec![
        Trial::test("house: every kernel has shader, wrapper, twin and test", every_kernel_has_its_files),
        Trial::test("house: shaders validate, agree with Rust and translate", move || shaders_agree(&examples)),
    ];
    trials.extend(soundness::trials());
    trials.extend(wordless.map(|name| Trial::test(name, || Ok(())).with_ignored_flag(true)));
    trials
}

fn every_kernel_has_its_files() -> Result<(), Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    let listed: BTreeSet<_> = SOURCES.iter().map(|s| s.0.to_string()).collect();
    for entry in std::fs::read_dir(root.join("shaders"))?.flatten() {
        let path = entry.path();
        let Some(name) = path.file_stem().and_then(|n| n.to_str()).filter(|_| path.is_file()) else { continue };
        if !listed.contains(name) {
            missing.push(format!("shaders/{name}.wgsl in SOURCES"));
        }
        let kernel = variant_of(name).unwrap_or(name);
        for folder in ["src/kernels", "src/cpu", "kernels-tests"] {
            if !root.join(folder).join(format!("{kernel}.rs")).exists() {
                missing.push(format!("{folder}/{kernel}.rs"));
            }
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(format!("missing: {}", missing.join(", ")).into()) }
}

fn shaders_agree(examples: &[Example]) -> Result<(), Failed> {
    // By their names, with whether devices without optional features plan for them.
    let mut distinct: BTreeMap<String, (Captured, bool)> = BTreeMap::new();
    let matrices = |side| Caps {
        workgroup_memory: 32 << 10,
        subgroup: (32, 64),
        row_share: true,
        f16: true,
        matrix: Some(side),
        ..Caps::floor()
    };
    let software = Caps { class: DeviceClass::SoftwareGpu, ..Caps::floor() };
    for caps in [Caps::floor(), software, matrices(16), matrices(8)] {
        let planner = Device::planner(caps);
        for example in examples {
            for captured in planner.capture(|| example(&planner))? {
                let key = emit::name(&captured.plan);
                let everywhere = !planner.caps().f16;
                // Pipelines are found by their plans.
                if distinct.get(&key).is_some_and(|before| before.0.bindings != captured.bindings) {
                    return Err(format!("{key}: one plan for other operands: {:?}", captured.bindings).into());
                }
                distinct.entry(key).or_insert((captured, everywhere));
            }
        }
    }
    let seen: BTreeSet<_> = distinct.values().map(|c| c.0.plan.shader).collect();
    let unseen: Vec<_> = SOURCES.iter().map(|s| s.0).filter(|s| !s.starts_with("lib/") && !seen.contains(s)).collect();
    if !unseen.is_empty() {
        return Err(format!("no example runs: {unseen:?}").into());
    }
    let folder = emit::folder()?;
    for (key, (captured, everywhere)) in &distinct {
        agree(captured, *everywhere, folder.as_deref()).map_err(|e| format!("{key}: {e}"))?;
    }
    Ok(())
}

fn agree(captured: &Captured, everywhere: bool, folder: Option<&Path>) -> Result<(), String> {
    let plan = &captured.plan;
    let shader = Shader::of(plan).map_err(|e| e.to_string())?;
    if everywhere && shader.source().contains("enable ") {
        return Err("enables what not all devices have".into());
    }
    let module = shader.module();
    let [entry] = module.entry_points.as_slice() else { return Err("not one entry point".into()) };
    if entry.name != "main" || entry.stage != ShaderStage::Compute {
        return Err("the entry point is not a compute `main`".into());
    }
    if entry.workgroup_size.iter().product::<u32>() != plan.workgroup {
        return Err(format!("workgroup {:?}, plan {}", entry.workgroup_size, plan.workgroup));
    }
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).map_err(|e| e.to_string())?;
    let (mut shared, mut bindings) = (0, Vec::new());
    for (_, global) in module.global_variables.iter() {
        match global.space {
            AddressSpace::WorkGroup => shared += layouter[global.ty].size,
            AddressSpace::Uniform => {
                let TypeInner::Struct { members, .. } = &module.types[global.ty].inner else {
                    return Err("params is no struct".into());
                };
                let found: Vec<_> = members
                    .iter()
                    .map(|m| {
                        let kind = match module.types[m.ty].inner {
                            TypeInner::Scalar(naga::Scalar::F32) => Scalar::F32,
                            _ => Scalar::U32,
                        };
                        (m.name.clone().unwrap_or_default(), m.offset as usize, kind)
                    })
                    .collect();
                let wanted: Vec<_> = captured.fields.iter().map(|f| (f.0.to_string(), f.1, f.2)).collect();
                if found != wanted {
                    return Err(format!("params {found:?}, Rust has {wanted:?}"));
                }
            }
            AddressSpace::Storage { access } => {
                let binding = global.binding.ok_or("a storage variable without binding")?;
                let access = if access.contains(StorageAccess::STORE) { Access::Write } else { Access::Read };
                let dtype =
                    element(&module.types[global.ty].inner, module).ok_or("an array of neither numbers nor words")?;
                let name = global.name.as_deref().unwrap_or_default();
                bindings.push((binding.binding, name, access, dtype));
            }
            _ => {}
        }
    }
    if shared != plan.shared_bytes {
        return Err(format!("{shared} bytes of workgroup memory, plan says {}", plan.shared_bytes));
    }
    // A binding that a variant does not use is stripped from its source; none may appear that Rust does not bind.
    bindings.sort_by_key(|b| b.0);
    let wanted: Vec<_> = captured
        .bindings
        .iter()
        // Halves come packed in words.
        .map(|b| (b.number, b.name, b.access, if b.dtype == DType::F16 { DType::U32 } else { b.dtype }))
        .collect();
    if bindings != wanted {
        return Err(format!("bindings {bindings:?}, Rust binds {wanted:?}"));
    }
    if wanted.len() > 8 {
        return Err(format!("{} storage buffers, 8 are the floor", wanted.len()));
    }
    if plan.constants.iter().any(|c| matches!(c.1, Constant::U32(_)) && !source_uses(plan.shader, c.0)) {
        return Err("a plan constant that neither the shader nor what it imports names".into());
    }
    soundness::check(module, shader.info())?;
    emit::translate(&emit::name(plan), &shader, folder)
}

/// Element type of a storage array, of scalars or vectors.
fn element(array: &TypeInner, module: &naga::Module) -> Option<DType> {
    let TypeInner::Array { base, .. } = *array else { return None };
    let (TypeInner::Scalar(scalar) | TypeInner::Vector { scalar, .. }) = module.types[base].inner else { return None };
    match scalar {
        naga::Scalar::F32 => Some(DType::Real),
        naga::Scalar::U32 => Some(DType::U32),
        _ => None,
    }
}

/// Whether a source names the constant, or one that it imports does.
fn source_uses(source: &str, constant: &str) -> bool {
    let text = SOURCES.iter().find(|s| s.0 == source).map_or("", |s| s.1);
    let imports = |other: &str| text.contains(&format!("package::{}::", other.replace('/', "::")));
    text.contains(constant) || SOURCES.iter().any(|s| imports(s.0) && source_uses(s.0, constant))
}
