//! Golden runs on every device: the CPU device, its f64 twins, and each GPU adapter.

use std::path::Path;

use libtest_mimic::{Failed, Trial};
use minoise::device::Device;
use minoise::protocol::{Outcome, verify};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels-tests/golden");

/// Beside the repository, where there are: golden files whose weights are too large for it.
const LARGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/golden");

/// Those weights.
const DINOV2: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/weights/dinov2-vits14-f16.safetensors");

/// One trial a file and device; files whose weights are not there are listed as ignored.
pub fn trials(devices: &[(String, Device)], oracle: &Device) -> Vec<Trial> {
    let mut files: Vec<_> = std::fs::read_dir(FOLDER)
        .expect("the golden files come with the repository")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        // No work of a device: unit tests of `src/data/` read these.
        .filter(|path| path.file_stem().is_none_or(|name| name != "transforms" && name != "pictures"))
        .collect();
    files.sort();
    let mut trials = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let all = devices.iter().map(|(label, device)| (label.clone(), device.clone(), false));
        for (label, device, f64) in all.chain([("f64 twins".to_string(), oracle.clone(), true)]) {
            let large = Path::new(LARGE).join(path.file_name().unwrap_or_default());
            let path = if name == "vit-dinov2-s14" { large } else { path.clone() };
            let ignored = name.ends_with("dinov2-s14") && !Path::new(DINOV2).is_file();
            let label = if ignored { format!("{label}: not run") } else { label };
            let trial = Trial::test(format!("golden {name} [{label}]"), move || replay(&path, &device, f64));
            trials.push(trial.with_ignored_flag(ignored));
        }
    }
    trials
}

/// Groups of methods that learn prompts: all start from what is recorded but L2P, CODA-Prompt chooses and clips nothing.
const OF_PROMPTS: &[&str] =
    &["first values", "loss", "first gradients", "parameters", "gradient norms", "selections that differ"];

/// Groups that a replay must have compared, all of SPEC section 8 or RIVALS section 13 for the kind.
fn required(name: &str) -> Vec<&'static str> {
    if name.starts_with("ridge-") {
        return vec!["W", "logits", "predictions that differ"];
    }
    if name.starts_with("vit-dinov2") {
        return vec!["features", "position embedding", "class token by block"];
    }
    if name.starts_with("vit-") {
        return vec!["features"];
    }
    if name.starts_with("explain-") {
        return vec!["scores", "attention rollout", "Grad-CAM"];
    }
    if let Some(rival) = name.strip_prefix("rival-") {
        let mut groups = vec!["features", "scores", "predictions that differ"];
        groups.extend(match rival.split(['-', '.']).next() {
            Some("simplecil") => &["means"][..],
            Some("fecam") => &["means", "covariances", "correlations"],
            Some("ranpac") => &["ridge losses", "lambda", "G and Q", "W"],
            Some("aper") => &["loss", "first gradients", "parameters", "means"],
            Some("ease") => &["loss", "first gradients", "parameters", "prototypes"],
            Some("l2p") => &OF_PROMPTS[1..],
            Some("dualprompt") => OF_PROMPTS,
            Some("coda") => &OF_PROMPTS[..4],
            Some("slca") => &["loss", "first gradients", "parameters", "means", "covariances", "drawn features"],
            _ => &["W"],
        });
        return groups;
    }
    let mut groups = vec!["loss", "features", "prototype", "noise parameters", "mixture weights"];
    groups.extend(["W", "W, step 1", "logits", "predictions that differ"]);
    if name.starts_with("run-paper") {
        groups.extend(["first gradients", "normals", "similarity"]);
    } else {
        groups.push("branch and norms");
    }
    groups
}

fn replay(path: &Path, device: &Device, oracle: bool) -> Result<(), Failed> {
    let replay = pollster::block_on(verify(path, device, oracle))?;
    let Outcome::Checked(checks) = &replay.outcome else { return Err("this file was not replayed".into()) };
    for group in required(&replay.file) {
        if !checks.iter().any(|c| c.group == group && c.tensors > 0) {
            return Err(format!("nothing was compared in group `{group}`").into());
        }
    }
    let failed: Vec<_> = checks.iter().filter(|c| !c.passed).map(|c| format!("{c:?}")).collect();
    if !failed.is_empty() {
        return Err(failed.join("\n").into());
    }
    if replay.file.starts_with("run-paper-a") {
        // The same seed on the same device gives the same bits: then all errors repeat to the last digit.
        let again = pollster::block_on(verify(path, device, oracle))?;
        if again.outcome != replay.outcome {
            return Err(format!("a second replay differs: {:?} and {:?}", replay.outcome, again.outcome).into());
        }
    }
    Ok(())
}
