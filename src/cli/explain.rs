//! `minoise explain`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pollster::block_on;

use super::{line, one_line, say};
use crate::device::{Device, Selector};
use crate::protocol::{Explainer, Explanation, Near, Sight};
use crate::report::{overlays, scatters};
use crate::store::{check_replaceable, replace};
use crate::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    /// The model: the directory of a run, its file, or that of solve --out.
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
    /// Image files.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Classes to tell for each image, and printed tasks.
    #[arg(long, value_name = "K", default_value_t = 5)]
    top: usize,
    /// Directory for overlays, explanations.json and planes.svg.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The backbone, if it is not where it was.
    #[arg(long, value_name = "FILE")]
    weights: Option<String>,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

const JSON: &str = "explanations.json";
const PLANES: &str = "planes.svg";
/// Letters of an image's name in that of its PNG.
const STEM: usize = 50;

pub(super) fn explain(args: ExplainArgs) -> Result<ExitCode> {
    args.out.as_deref().map_or(Ok(()), |dir| check_replaceable(&dir.join(JSON)))?;
    let pending = args.out.is_some();
    let device = block_on(Device::open(&Selector::from_flag_or_env(args.device.as_deref())))?;
    let explainer = block_on(Explainer::open(&args.checkpoint, &device, args.weights.as_deref()))?;
    say(&format!("device: {}", device.name()), pending)?;
    if !explainer.has_class_means() {
        say("note:   the model has no statistics, so that there are no means of classes to be near to", pending)?;
    }
    let mut explanations = Vec::new();
    for file in &args.images {
        let explanation = block_on(explainer.explain(file, args.top))?;
        for text in told(&explanation, args.top) {
            say(&text, pending)?;
        }
        explanations.push(explanation);
    }
    // Everything is made before anything is written.
    let Some(dir) = &args.out else { return Ok(ExitCode::SUCCESS) };
    for (path, content) in files(dir, &explainer, &device, &explanations)? {
        replace(&path, &content)?;
    }
    line(&format!("{}: {JSON}, {PLANES} and one PNG an image: {}", dir.display(), panels(&explanations)))?;
    Ok(ExitCode::SUCCESS)
}

/// What stands in a PNG, from left to right.
fn panels(explanations: &[Explanation]) -> &'static str {
    if explanations.iter().any(|of| of.without_noise.is_some()) {
        "the image, rollout without and with noise, Grad-CAM without and with noise"
    } else {
        "the image, rollout, Grad-CAM"
    }
}

/// The files of all explanations.
fn files(
    dir: &Path,
    explainer: &Explainer,
    device: &Device,
    explanations: &[Explanation],
) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let [channels, side, _] = explainer.shape();
    let (mut files, mut names) = (Vec::new(), Vec::new());
    for (i, of) in explanations.iter().enumerate() {
        // A part of the image's name, which may be as long as names can be.
        let stem = Path::new(&of.image).file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{:03}-{}.png", i + 1, stem.chars().take(STEM).collect::<String>());
        let both = |map: fn(&Sight) -> &Vec<f64>| -> Vec<&[f64]> {
            of.without_noise.iter().chain([&of.sight]).map(|sight| map(sight).as_slice()).collect()
        };
        let maps = [both(|sight| &sight.rollout), both(|sight| &sight.grad_cam)];
        files.push((dir.join(&name), overlays(&of.pixels, [channels, side], &maps)?));
        names.push(name);
    }
    let planes = explainer.planes(explanations)?;
    files.push((dir.join(PLANES), scatters(&planes)?.into_bytes()));
    let value = serde_json::json!({
        "method": explainer.model().config().method,
        "profile": explainer.model().config().profile,
        "device": device.name(),
        "panels": panels(explanations),
        "overlays": names,
        "explanations": explanations,
        "planes": planes,
    });
    let mut text = serde_json::to_vec_pretty(&value).map_err(|e| Error::Unsupported(e.to_string()))?;
    text.push(b'\n');
    files.push((dir.join(JSON), text));
    Ok(files)
}

/// What is printed of an image.
fn told(of: &Explanation, top: usize) -> Vec<String> {
    let mut lines = vec![one_line(&of.image), format!("  {:>8}  {:>13}  class", "score", "without noise")];
    for scored in &of.scores {
        let bare = scored.without_noise.map_or("-".into(), |score| format!("{score:.3}"));
        lines.push(format!("  {:>8.3}  {bare:>13}  {}", scored.score, one_line(&scored.class)));
    }
    if !of.tasks.is_empty() {
        lines.push(format!("  {:>8}  {:>13}  noise of task", "change", "of best score"));
    }
    for share in of.tasks.iter().take(top) {
        lines.push(format!("  {:>8.4}  {:>+13.4}  {}", share.change, share.score, share.task));
    }
    for (name, map) in [("rollout", (|sight| &sight.rollout) as fn(&Sight) -> &Vec<f64>), ("Grad-CAM", |s| &s.grad_cam)]
    {
        let seen = map(&of.sight);
        let at = (0..seen.len()).max_by(|&a, &b| seen[a].total_cmp(&seen[b]).then(b.cmp(&a))).unwrap_or(0);
        let without = of.without_noise.as_ref().map(|bare| cosine(seen, map(bare)));
        let without = without.map_or(String::new(), |x| format!("; cosine {x:.3} to the one without noise"));
        let [row, column] = [at / of.grid + 1, at % of.grid + 1];
        lines.push(format!("  {name}: most in row {row}, column {column} of {0} x {0} patches{without}", of.grid));
    }
    for (name, nearest) in [("classes", &of.nearest_classes), ("tasks", &of.nearest_tasks)] {
        if !nearest.is_empty() {
            let near = |near: &Near| format!("{} {:.3}", one_line(&near.name), near.cosine);
            let near: Vec<String> = nearest.iter().map(near).collect();
            lines.push(format!("  nearest {name}: {}", near.join(", ")));
        }
    }
    lines
}

/// Of two maps; 1 where both are zero.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let norm = (dot(a, a) * dot(b, b)).sqrt();
    if norm > 0.0 { dot(a, b) / norm } else { f64::from(u8::from(a == b)) }
}
