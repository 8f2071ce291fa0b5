//! Backbones that are trained as a whole: gradients of every tensor, the features of the frozen ones, states.

use libtest_mimic::{Failed, Trial};
use minoise::Result;
use minoise::autograd::{Linear, Loss, Tape, Var};
use minoise::device::{Device, Precision, Tensor};
use minoise::model::architecture::{Architecture, QkvBias};
use minoise::model::vit::{Vit, transpose};
use minoise::model::weights::Weights;
use pollster::block_on;
use safetensors::tensor::{Dtype, TensorView};

use super::{BATCH, CLASSES, Graph, Parameter, both, pretrained};
use crate::harness::{numbers, random};

/// The golden files whose backbones are trained: the plain ViT, then one of each family.
const BACKBONES: [&str; 6] = ["run-paper-a", "vit-average", "vit-clip", "vit-dinov3", "vit-registers", "vit-swiglu"];

/// The backbone inside a golden file, with biases of queries and values if there are to be some.
fn backbone(golden: &str, biased: bool) -> Result<(Architecture, Weights)> {
    let (mut architecture, weights) = pretrained(golden)?;
    if !biased {
        return Ok((architecture, weights));
    }
    let mut all: Vec<(String, Vec<usize>, Vec<f64>)> =
        weights.iter().map(|(name, shape, data)| (name.into(), shape.into(), data.into())).collect();
    let (d, depth) = (architecture.sizes.dim, architecture.sizes.depth);
    for (i, (j, x)) in (0..depth).flat_map(|j| [(j, "q"), (j, "v")]).enumerate() {
        let bias = numbers(80 + i as u64, d).into_iter().map(f64::from).collect();
        all.push((format!("blocks.{j}.attn.{x}_bias"), vec![d], bias));
    }
    let bytes: Vec<Vec<u8>> =
        all.iter().map(|(.., data)| data.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let mut views = Vec::new();
    for ((name, shape, _), bytes) in all.iter().zip(&bytes) {
        views.push((name.clone(), TensorView::new(Dtype::F64, shape.clone(), bytes).expect("a tensor")));
    }
    let file = safetensors::serialize(views, None).expect("a safetensors file");
    architecture.style.qkv_bias = QkvBias::QueryValue;
    Ok((architecture, Weights::parse("biases", &file)?))
}

/// A trained backbone, and a head behind it.
struct Whole {
    vit: Vit,
    head: Tensor,
    images: Tensor,
    labels: Tensor,
    loss: Tensor,
}

impl Whole {
    fn new(device: &Device, golden: &str, biased: bool) -> Result<Self> {
        let (architecture, weights) = backbone(golden, biased)?;
        let sizes = architecture.sizes;
        Ok(Self {
            vit: Vit::load_trainable(device, architecture, weights)?,
            head: random(device, 71, &[sizes.dim, CLASSES])?,
            images: random(device, 72, &[BATCH, sizes.channels, sizes.image, sizes.image])?,
            labels: device.upload_u32(&[4, 0, 2], &[BATCH])?,
            loss: device.zeros(&[1])?,
        })
    }
}

impl Graph for Whole {
    fn parameters(&self) -> Vec<Parameter> {
        self.vit.trainable().into_iter().map(|x| (x.name, x.tensor.clone(), 0)).collect()
    }

    fn loss(&self) -> &Tensor {
        &self.loss
    }

    fn forward(&self, device: &Device, tracked: &[Tensor]) -> Result<(Tape, Var)> {
        let mut tape = Tape::new(device, tracked);
        let head = tape.var(&self.head);
        let f = self.vit.features(&mut tape, &self.images, |tape, j, x| self.vit.block(tape, j, &x))?;
        let logits = tape.linear(&f, Linear::new(&head))?;
        let root = tape.cross_entropy(&logits, &self.labels, Loss::new(&self.loss, 0, BATCH))?;
        Ok((tape, root))
    }
}

/// A backbone to be trained has every tensor of its file, as long as that, and the features of the frozen one: in f64 to the
/// rounding of sums in another order.
fn nothing_is_lost(golden: &str, biased: bool) -> Result<(), Failed> {
    let device = Device::cpu(Precision::F64);
    let (architecture, weights) = backbone(golden, biased)?;
    let whole = Whole::new(&device, golden, biased)?;
    let tensors = whole.vit.trainable();
    for (name, _, data) in weights.iter().filter(|(name, ..)| !whole.vit.left_aside.iter().any(|aside| aside == name)) {
        let found = tensors.iter().find(|x| x.name == name).ok_or_else(|| format!("`{name}` is not trained"))?;
        let mut got: Vec<f64> = block_on(device.read(found.tensor))?;
        if found.transposed {
            got = transpose(&got, found.tensor.rows(), found.tensor.cols());
        }
        if got != data {
            return Err(format!("`{name}` is not as in the file").into());
        }
    }
    if tensors.len() + whole.vit.left_aside.len() != weights.iter().count() {
        return Err(format!("{} tensors are trained", tensors.len()).into());
    }
    let frozen = Vit::load(&device, architecture, weights, false)?;
    let features = |vit: &Vit| block_on(device.read::<f64>(&vit.frozen(&whole.images)?.0));
    let (got, want) = (features(&whole.vit)?, features(&frozen)?);
    let largest = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    match got.iter().zip(&want).find(|(x, y)| (*x - *y).abs() > 1e-12 * largest || x.is_nan()) {
        None => Ok(()),
        Some((x, y)) => Err(format!("a feature is {x}, {y} by the frozen backbone").into()),
    }
}

/// What another backbone takes over from a state is the same to the bit.
fn states_are_taken_over(device: &Device) -> Result<(), Failed> {
    let [from, to] = [(); 2].map(|()| Whole::new(device, "vit-registers", false));
    let (from, to) = (from?, to?);
    for (i, x) in from.vit.trainable().iter().enumerate() {
        device.write(x.tensor, &numbers(90 + i as u64, x.tensor.len()))?;
    }
    let state = block_on(from.vit.state())?;
    let shape = state.shape("blocks.1.mlp.fc1.weight")?.to_vec();
    let sizes = from.vit.architecture.sizes;
    if shape != [sizes.mlp, sizes.dim] {
        return Err(format!("fc1 has shape {shape:?} in a state").into());
    }
    to.vit.restore(state)?;
    for (x, y) in from.vit.trainable().iter().zip(to.vit.trainable()) {
        let [x, y] = [x.tensor, y.tensor].map(|t| block_on(device.read::<f64>(t)));
        if x? != y? {
            return Err("a tensor is another one".into());
        }
    }
    let mut lacks = block_on(from.vit.state())?;
    lacks.take::<f32>("blocks.0.ls1.gamma")?;
    if to.vit.restore(lacks).is_ok() { Err("a state without a tensor is taken".into()) } else { Ok(()) }
}

pub fn trials(devices: &[(String, Device)]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (golden, biased) in BACKBONES.map(|golden| (golden, false)).into_iter().chain([("vit-dinov3", true)]) {
        let of = format!("{golden} as a whole{}", if biased { ", with biases of queries and values" } else { "" });
        trials.extend(both(&of, devices, move |device| Whole::new(device, golden, biased)));
        trials.push(Trial::test(format!("autograd {of} [f64 twins]"), move || nothing_is_lost(golden, biased)));
    }
    for (label, device) in devices {
        let (name, device) = (format!("autograd states of backbones [{label}]"), device.clone());
        trials.push(Trial::test(name, move || states_are_taken_over(&device)));
    }
    trials
}
