//! A network with noise layers and both classifiers: gradients, in parts and by recomputation, and memory over many steps.

use std::ops::Range;

use libtest_mimic::{Failed, Trial};
use minoise::Result;
use minoise::autograd::{Gradients, Linear, Loss, Segment, Tape, Var};
use minoise::device::{DType, Device, Precision, Tensor};
use minoise::kernels::noise_mix::{Noise, PhiLayout};
use minoise::model::noise::{MixtureSource, NoiseLayers};
use minoise::model::vit::{Vit, VitConfig};
use pollster::block_on;

use super::{BATCH, CLASSES, Parameter, agree, are_differences, pretrained};
use crate::harness::{numbers, random};

const FEATURES: usize = 32;

/// The golden files whose backbones are differentiated: the plain ViT with two layers of phi or one, then one of each family.
const NETS: [(&str, usize); 7] = [
    ("run-paper-a", 1),
    ("run-paper-a", 2),
    ("vit-average", 2),
    ("vit-clip", 2),
    ("vit-dinov3", 2),
    ("vit-registers", 2),
    ("vit-swiglu", 2),
];

/// How a gradient is taken.
#[derive(Clone, Copy, Default)]
struct How {
    recompute: bool,
    halves: bool,
}

/// A ViT with trained norms, two noise modules, a linear branch and both classifiers: every backward rule at once.
#[derive(Clone)]
struct Net {
    vit: Vit,
    noise: NoiseLayers,
    random: Tensor,
    main: Tensor,
    aux: Tensor,
    aux_bias: Tensor,
    images: Tensor,
    labels: Tensor,
    loss: Tensor,
}

impl Net {
    fn new(device: &Device, backbone: &str, layers: usize) -> Result<Self> {
        let (architecture, weights) = pretrained(backbone)?;
        let VitConfig { dim: d1, depth, image, .. } = architecture.sizes;
        let d2 = 10;
        let layout = PhiLayout::new(d2, layers)?;
        let wide = |seed, n| numbers(seed, n).into_iter().map(f64::from).collect::<Vec<_>>();
        let projections: Vec<_> = (0..depth as u64).map(|j| (wide(10 + j, d1 * d2), wide(20 + j, d2 * d1))).collect();
        let mut noise = NoiseLayers::new(device, layout, d1, &projections, true)?;
        for module in 0..2u64 {
            noise.add_module(|layer| {
                let mut row = vec![0.0; layout.len()];
                for (i, name) in layout.names().iter().enumerate() {
                    let n = layout.shape(name).iter().product();
                    let seed = 1000 + module * 100 + layer as u64 * 10 + i as u64;
                    let data: Vec<f64> = wide(seed, n).iter().map(|x| 0.4 * x).collect();
                    layout.pack(name, &data, &mut row)?;
                }
                Ok(row)
            })?;
        }
        noise.set_mixture(&[0.3, -0.2], true)?;
        Ok(Self {
            vit: Vit::load(device, architecture, weights, false)?,
            noise,
            random: random(device, 30, &[d1, FEATURES])?,
            main: random(device, 31, &[CLASSES, FEATURES])?,
            aux: random(device, 32, &[CLASSES, FEATURES])?,
            aux_bias: random(device, 33, &[CLASSES])?,
            images: random(device, 34, &[BATCH, 3, image, image])?,
            labels: device.upload_u32(&[4, 0, 2], &[BATCH])?,
            loss: device.zeros(&[1])?,
        })
    }

    /// Everything that is trained.
    fn parameters(&self) -> Vec<Parameter> {
        let mut all: Vec<_> = self.vit.norm_parameters(0).into_iter().map(|(n, t)| (n, t.clone(), 0)).collect();
        for (j, layer) in self.noise.layers.iter().enumerate() {
            all.push((format!("phi {j}"), layer.phi.clone(), self.noise.layout.len()));
            if let Some(MixtureSource::Logits(a)) = &layer.mixture {
                all.push((format!("mixture logits {j}"), a.clone(), 0));
            }
            if let Some(branch) = &layer.branch {
                all.push((format!("branch {j}"), branch.weight.clone(), 0));
                all.push((format!("branch bias {j}"), branch.bias.clone(), 0));
            }
        }
        all.push(("aux".into(), self.aux.clone(), 0));
        all.push(("aux bias".into(), self.aux_bias.clone(), 0));
        all
    }

    /// Forward pass of some images of the batch; the tape and its root.
    fn forward(&self, device: &Device, tracked: &[Tensor], of: Range<usize>, how: How) -> Result<(Tape, Var)> {
        let mut tape = Tape::new(device, tracked).with_halves(how.halves);
        let (images, labels) = self.part(device, of.clone())?;
        let first_row = (of.start * self.vit.architecture.tokens()) as u32;
        let f = self.vit.features(&mut tape, &images, |tape, j, x| {
            let net = self.clone();
            let segment = move |tape: &mut Tape, x: &Var| {
                let x = net.vit.block(tape, j, x)?;
                net.noise.apply(tape, j, &x, Noise::Sample { seed: 7, layer: j as u32, step: 3, first_row })
            };
            if how.recompute { tape.recomputed(&x, Segment::new(segment)) } else { segment(tape, &x) }
        })?;
        let r = tape.var(&self.random);
        let activation = minoise::kernels::gemm::Activation::Relu;
        let p = tape.linear(&f, Linear { activation, ..Linear::new(&r) })?;
        let (main, aux, bias) = (tape.var(&self.main), tape.var(&self.aux), tape.var(&self.aux_bias));
        let main = tape.linear(&p, Linear { transposed: true, ..Linear::new(&main) })?;
        let op = Linear { transposed: true, bias: Some(&bias), residual: Some(&main), ..Linear::new(&aux) };
        let logits = tape.linear(&p, op)?;
        let loss = Loss { accumulate: of.start > 0, ..Loss::new(&self.loss, 0, BATCH) };
        let root = tape.cross_entropy(&logits, &labels, loss)?;
        Ok((tape, root))
    }

    /// Some of the images, and their labels.
    fn part(&self, device: &Device, of: Range<usize>) -> Result<(Tensor, Tensor)> {
        let size = self.images.len() / BATCH;
        let [_, c, h, w] = *self.images.shape() else { unreachable!("images have four dimensions") };
        let images = device.reals(&[of.len(), c, h, w])?;
        device.copy(&self.images, of.start * size, &images, 0, of.len() * size)?;
        let labels = device.empty(&[of.len()], DType::U32)?;
        device.copy(&self.labels, of.start, &labels, 0, of.len())?;
        Ok((images, labels))
    }

    /// The gradients of the batch, taken in parts that end before these images.
    fn taken(&self, device: &Device, ends: &[usize], how: How) -> Result<Gradients> {
        let tracked: Vec<_> = self.parameters().into_iter().map(|p| p.1).collect();
        let (mut gradients, mut start) = (Gradients::default(), 0);
        for &end in ends {
            let (tape, root) = self.forward(device, &tracked, start..end, how)?;
            gradients = tape.backward_onto(&root, gradients)?;
            start = end;
        }
        Ok(gradients)
    }

    fn gradients(&self, device: &Device) -> Result<Gradients> {
        let tracked: Vec<_> = self.parameters().into_iter().map(|p| p.1).collect();
        let (tape, root) = self.forward(device, &tracked, 0..BATCH, How::default())?;
        tape.backward(&root)
    }

    fn loss(&self, device: &Device) -> Result<f64> {
        self.forward(device, &[], 0..BATCH, How::default())?;
        Ok(block_on(device.read::<f64>(&self.loss))?[0])
    }
}

fn gradients_are_differences(backbone: &str, layers: usize) -> Result<(), Failed> {
    let device = Device::cpu(Precision::F64);
    let net = Net::new(&device, backbone, layers)?;
    are_differences(&device, net.parameters(), &net.gradients(&device)?, || net.loss(&device))
}

fn gradients_agree(device: &Device, backbone: &str, layers: usize) -> Result<(), Failed> {
    agree(device, |device| {
        let net = Net::new(device, backbone, layers)?;
        Ok((net.parameters(), net.gradients(device)?))
    })
}

/// Batches in parts, and blocks that are computed once more, give the same loss and gradients; recomputation takes less memory.
fn parts_make_the_whole(device: &Device, backbone: &str) -> Result<(), Failed> {
    let net = Net::new(device, backbone, 2)?;
    let read = |x: &Tensor| block_on(device.read::<f64>(x));
    let whole = net.gradients(device)?;
    let loss = read(&net.loss)?[0];
    // Rounding of sums in another order, relative to the largest entry.
    let bound = if device.is_double() { 1e-12 } else { 2e-5 };
    for (ends, recompute) in [(&[3][..], true), (&[1, 3], false), (&[2, 3], true), (&[1, 2, 3], true)] {
        let found = net.taken(device, ends, How { recompute, halves: false })?;
        let told = format!("{} parts, recompute {recompute}", ends.len());
        let error = (read(&net.loss)?[0] - loss).abs();
        if error.is_nan() || error > bound * loss {
            return Err(format!("{told}: the loss differs by {error:e}").into());
        }
        for (name, tensor, _) in net.parameters() {
            let missing = || format!("{told}: no gradient of {name}");
            let want = read(whole.of(&tensor).ok_or_else(missing)?)?;
            let got = read(found.of(&tensor).ok_or_else(missing)?)?;
            let scale = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            let off = got.iter().zip(&want).find(|(x, y)| (*x - *y).abs() > bound * scale || x.is_nan());
            if let Some((x, y)) = off {
                return Err(format!("{told}: {name} has {x} for {y}, largest {scale}").into());
            }
        }
    }
    Ok(())
}

/// Live bytes of a gradient at their peak.
fn recomputation_saves_memory() -> Result<(), Failed> {
    let peak = |how| -> Result<u64> {
        let fresh = Device::cpu(Precision::F32);
        let net = Net::new(&fresh, "vit-registers", 2)?;
        let before = fresh.stats().bytes_in_use;
        net.taken(&fresh, &[BATCH], how)?;
        Ok(fresh.stats().peak_bytes_in_use - before)
    };
    let kept = peak(How::default())?;
    let again = peak(How { recompute: true, halves: false })?;
    // Of each block but one only its operand stays.
    if again * 10 > kept * 8 {
        return Err(format!("{again} bytes with recomputation, {kept} without").into());
    }
    Ok(())
}

/// What is kept as halves is off by 2^-11 of itself; sums over it let gradients be off by little more. None would be, were
/// nothing rounded.
fn halves_cost_little(device: &Device, backbone: &str) -> Result<(), Failed> {
    let net = Net::new(device, backbone, 2)?;
    let read = |x: &Tensor| block_on(device.read::<f64>(x));
    let (whole, rounded) =
        (net.gradients(device)?, net.taken(device, &[BATCH], How { recompute: false, halves: true })?);
    let mut largest = 0.0f64;
    for (name, tensor, _) in net.parameters() {
        let missing = || format!("no gradient of {name}");
        let want = read(whole.of(&tensor).ok_or_else(missing)?)?;
        let got = read(rounded.of(&tensor).ok_or_else(missing)?)?;
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let off: Vec<f64> = got.iter().zip(&want).map(|(x, y)| x - y).collect();
        let error = norm(&off) / norm(&want);
        if error.is_nan() || error > 5e-3 {
            return Err(format!("{name} is off by {error:e} of its norm").into());
        }
        largest = largest.max(error);
    }
    if largest < 1e-5 { Err(format!("the largest error is {largest:e}: nothing was rounded").into()) } else { Ok(()) }
}

fn memory_stays_flat(device: &Device) -> Result<(), Failed> {
    let net = Net::new(device, "run-paper-a", 2)?;
    let mut in_use = Vec::new();
    for _ in 0..200 {
        drop(net.gradients(device)?);
        block_on(device.finish())?;
        let stats = device.stats();
        in_use.push((stats.bytes_in_use, stats.peak_bytes));
    }
    if in_use[1..].iter().any(|x| *x != in_use[1]) {
        return Err(format!("bytes in use and peak moved from {:?} to {:?}", in_use[1], in_use[199]).into());
    }
    Ok(())
}

pub(super) fn trials(devices: &[(String, Device)]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (net, layers) in NETS {
        let name = format!("autograd central differences, {net}, {layers} layers of phi [f64 twins]");
        trials.push(Trial::test(name, move || gradients_are_differences(net, layers)));
        for (label, device) in devices {
            let name = format!("autograd gradients, {net}, {layers} layers of phi [{label}]");
            let device = device.clone();
            trials.push(Trial::test(name, move || gradients_agree(&device, net, layers)));
        }
    }
    trials.push(Trial::test("autograd recomputation takes less memory [cpu]", recomputation_saves_memory));
    for backbone in ["run-paper-a", "vit-dinov3"] {
        let doubles = ("f64 twins".to_string(), Device::cpu(Precision::F64));
        for (label, device) in devices.iter().chain([&doubles]) {
            let (name, device) = (format!("autograd in parts, {backbone} [{label}]"), device.clone());
            let d = device.clone();
            trials.push(Trial::test(name, move || parts_make_the_whole(&d, backbone)));
            let name = format!("autograd with halves, {backbone} [{label}]");
            trials.push(Trial::test(name, move || halves_cost_little(&device, backbone)));
        }
    }
    for (label, device) in devices {
        // A device of its own, so that no other test moves the counters.
        let (label, selector) = (label.clone(), device.name().to_string());
        let fresh = move || {
            if selector.starts_with("cpu") {
                return Ok(Device::cpu(Precision::F32));
            }
            block_on(Device::open(&minoise::device::Selector::Named(selector.clone())))
        };
        let name = format!("autograd memory over 200 steps [{label}]");
        trials.push(Trial::test(name, move || memory_stays_flat(&fresh()?)));
    }
    trials
}
