//! `minoise predict`

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use pollster::block_on;

use super::{line, one_line};
use crate::data::Images;
use crate::device::{Device, Selector};
use crate::protocol::{Answer, Model};
use crate::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct PredictArgs {
    /// The model: the directory of a run, its file, or that of solve --out.
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
    /// Image files; - for a list of them on standard input, one a line.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Classes to tell for each image.
    #[arg(long, value_name = "K", default_value_t = 5)]
    top: usize,
    /// Leave out images that cannot be read, and count them.
    #[arg(long)]
    skip_bad: bool,
    /// Print JSON, one line an image.
    #[arg(long)]
    json: bool,
    /// The backbone, if it is not where it was.
    #[arg(long, value_name = "FILE")]
    weights: Option<String>,
    /// auto, cpu, gpu, or words of an adapter's backend, name and driver.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

pub(super) fn predict(args: PredictArgs) -> Result<ExitCode> {
    let files = listed(&args.images)?;
    let device = block_on(Device::open(&Selector::from_flag_or_env(args.device.as_deref())))?;
    let model = block_on(Model::open(&args.checkpoint, &device, args.weights.as_deref()))?;
    let start = Instant::now();
    let mut bad = 0;
    for batch in files.chunks(model.batch()) {
        match block_on(model.classify(Images::of_files(batch.to_vec()), args.top)) {
            Ok(answers) => {
                batch.iter().zip(answers).try_for_each(|(file, answers)| print(file, &answers, args.json))?
            }
            Err(e) if !args.skip_bad => return Err(e),
            // Which of them it is shows one by one.
            Err(_) => {
                for file in batch {
                    match block_on(model.classify(Images::of_files(vec![file.clone()]), args.top)) {
                        Ok(answers) => print(file, &answers[0], args.json)?,
                        Err(e @ (Error::Data { .. } | Error::Io { .. })) => {
                            bad += 1;
                            eprintln!("note: left out: {}", one_line(&e.to_string()));
                        }
                        Err(e) => return Err(e),
                    }
                }
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let skipped = if bad > 0 { format!(", {bad} left out") } else { String::new() };
    let n = files.len() - bad;
    eprintln!("{n} images in {seconds:.2} s, {:.1} images/s on {}{skipped}", n as f64 / seconds, device.name());
    Ok(ExitCode::SUCCESS)
}

/// The files named; those listed on standard input, one a line, for `-`.
fn listed(images: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for image in images {
        if image != Path::new("-") {
            files.push(image.clone());
            continue;
        }
        for name in std::io::stdin().lock().lines() {
            let name = name.map_err(|e| Error::io("read", "standard input", &e))?;
            files.extend(Some(name.trim_end_matches('\r')).filter(|name| !name.is_empty()).map(PathBuf::from));
        }
    }
    Ok(files)
}

fn print(file: &Path, answers: &[Answer], json: bool) -> Result<()> {
    if json {
        let value = serde_json::json!({ "image": file.display().to_string(), "answers": answers });
        return line(&value.to_string());
    }
    line(&one_line(&file.display().to_string()))?;
    for answer in answers {
        let Answer { class, score, softened } = answer;
        line(&format!("  {:5.1} %  {score:6.3}  {}", 100.0 * softened, one_line(class)))?;
    }
    Ok(())
}
