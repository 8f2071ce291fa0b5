//! The tape: gradients against central differences in f64 and between devices, and memory over many steps.

mod adapters;
mod backbones;
mod network;
mod normed;
mod prefixed;
mod prompts;

use std::path::Path;

use libtest_mimic::{Failed, Trial};
use minoise::Result;
use minoise::autograd::{Gradients, Tape, Var};
use minoise::device::{Device, Precision, Tensor};
use minoise::model::facts::Facts;
use minoise::model::vit::{Architecture, VitConfig};
use minoise::model::weights::Weights;
use pollster::block_on;

/// Something trained: its name, itself, and where in it the gradient starts (for phi at the newest module).
type Parameter = (String, Tensor, usize);

const BATCH: usize = 3;
const CLASSES: usize = 5;

/// The backbone inside a golden file.
fn pretrained(golden: &str) -> Result<(Architecture, Weights)> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/kernels-tests/golden"));
    let file = Weights::read(&folder.join(golden).with_extension("safetensors"))?;
    if golden.starts_with("run-") {
        let weights = file.below("backbone.");
        return Ok((VitConfig::infer(&weights, 32, 3, 1e-6)?, weights));
    }
    let case: serde_json::Value = serde_json::from_str(&file.metadata["case"]).expect("a golden file's case");
    let weights = file.below("weights.");
    let family = Facts::family(if golden.ends_with("dinov3") { "dinov3" } else { "vit" }, 0);
    let told = Facts::of_args(&weights, case["args"].as_object().expect("arguments"))?
        .or(Facts { gate: family.act, ..family });
    Ok((Architecture::of(&weights, told, None)?, weights))
}

/// A computation with its parameters.
trait Graph {
    fn parameters(&self) -> Vec<Parameter>;
    fn loss(&self) -> &Tensor;
    /// The tape and its root.
    fn forward(&self, device: &Device, tracked: &[Tensor]) -> Result<(Tape, Var)>;

    fn gradients(&self, device: &Device) -> Result<Gradients> {
        let tracked: Vec<_> = self.parameters().into_iter().map(|p| p.1).collect();
        let (tape, root) = self.forward(device, &tracked)?;
        tape.backward(&root)
    }

    fn value(&self, device: &Device) -> Result<f64> {
        self.forward(device, &[])?;
        Ok(block_on(device.read::<f64>(self.loss()))?[0])
    }
}

/// Central differences with step h have error h^2 |f'''| / 6 + eps |f| / h: about 1e-9 here.
fn are_differences(
    device: &Device,
    parameters: Vec<Parameter>,
    gradients: &Gradients,
    loss: impl Fn() -> Result<f64>,
) -> Result<(), Failed> {
    for (name, tensor, offset) in parameters {
        let gradient = gradients.of(&tensor).ok_or_else(|| format!("no gradient of {name}"))?;
        let gradient: Vec<f64> = block_on(device.read(gradient))?;
        let scale = gradient.iter().fold(0.0f64, |m, g| m.max(g.abs()));
        if scale == 0.0 {
            return Err(format!("the gradient of {name} is zero").into());
        }
        let start: Vec<f64> = block_on(device.read(&tensor))?;
        let h = 1e-5;
        for k in 0..4 {
            // Entries of padding have gradient zero and stay where they are: both sides agree on that too.
            let i = (k * 7919 + 13) % gradient.len();
            let at = |x: f64| -> Result<f64> {
                let mut moved = start.clone();
                moved[offset + i] += x;
                device.write(&tensor, &moved)?;
                loss()
            };
            let difference = (at(h)? - at(-h)?) / (2.0 * h);
            let error = (difference - gradient[i]).abs() / scale;
            if error.is_nan() || error > 1e-6 {
                return Err(format!("{name}[{i}]: {} by the tape, {difference} by differences", gradient[i]).into());
            }
        }
        device.write(&tensor, &start)?;
    }
    Ok(())
}

/// The same gradients on a device, relative to the largest entry: SPEC section 8 allows 1e-3.
fn agree(device: &Device, taken: impl Fn(&Device) -> Result<(Vec<Parameter>, Gradients)>) -> Result<(), Failed> {
    let oracle = Device::cpu(Precision::F64);
    let ((parameters, got), (want, wanted)) = (taken(device)?, taken(&oracle)?);
    for ((name, a, _), (_, b, _)) in parameters.iter().zip(want) {
        let missing = || format!("no gradient of {name}");
        let x: Vec<f64> = block_on(device.read(got.of(a).ok_or_else(missing)?))?;
        let y: Vec<f64> = block_on(oracle.read(wanted.of(&b).ok_or_else(missing)?))?;
        let scale = y.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let error = x.iter().zip(&y).map(|(x, y)| (x - y).abs() / scale).fold(0.0, f64::max);
        // `max` drops NaN, so finiteness is asked for by itself.
        if error > 1e-4 || x.iter().any(|v| !v.is_finite()) {
            return Err(format!("{name}: relative error {error:e}").into());
        }
    }
    Ok(())
}

/// By differences in f64, and on every device as there.
fn both<G: Graph>(
    of: &str,
    devices: &[(String, Device)],
    graph: impl Fn(&Device) -> Result<G> + Clone + Send + 'static,
) -> Vec<Trial> {
    let make = graph.clone();
    let mut trials = vec![Trial::test(format!("autograd central differences, {of} [f64 twins]"), move || {
        let device = Device::cpu(Precision::F64);
        let graph = make(&device)?;
        are_differences(&device, graph.parameters(), &graph.gradients(&device)?, || graph.value(&device))
    })];
    for (label, device) in devices {
        let (device, make) = (device.clone(), graph.clone());
        trials.push(Trial::test(format!("autograd gradients, {of} [{label}]"), move || -> Result<(), Failed> {
            agree(&device, |device| {
                let graph = make(device)?;
                Ok((graph.parameters(), graph.gradients(device)?))
            })
        }));
    }
    trials
}

pub fn trials(devices: &[(String, Device)]) -> Vec<Trial> {
    let all = [network::trials, normed::trials, prefixed::trials, adapters::trials, prompts::trials, backbones::trials];
    all.iter().flat_map(|trials| trials(devices)).collect()
}
