//! Kernels in the languages of the drivers. With `MINOISE_EMIT=DIR` they become files, for the validators of those languages.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use minoise::device::{Constant, Plan};
use minoise::emit::{Language, Shader};

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

/// Writes a shader in all four languages, but where it has no words there.
pub fn translate(name: &str, shader: &Shader, folder: Option<&Path>) -> Result<(), String> {
    let endings = [
        (Language::SpirV, "spv".into()),
        (Language::Msl, "metal".into()),
        (Language::Hlsl, format!("{}.hlsl", shader.shader_model())),
        (Language::Glsl, "comp".into()),
    ];
    for (language, ending) in endings.into_iter().filter(|(language, _)| shader.has_words_in(*language)) {
        let bytes = shader.written(language).map_err(|e| format!("{language:?}: {e}"))?;
        if let Some(folder) = folder {
            std::fs::write(folder.join(format!("{name}.{ending}")), bytes).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}
