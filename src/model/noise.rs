//! The noise layers of all blocks: frozen projections, one small module per task, mixture weights (SPEC section 2).

pub use crate::algorithms::noise::Path;
use crate::autograd::{Linear, NoiseOp, Tape, Var, Weights};
use crate::device::{Device, Tensor};
use crate::kernels::copy_block::CopyBlock;
use crate::kernels::gemm::Mat;
pub use crate::kernels::noise_mix::{Noise, PhiLayout};
use crate::kernels::philox_normal::PhiloxNormal;
pub use crate::kernels::philox_normal::Stream;
use crate::{Error, Result};

/// eps of the LayerNorm through which modules see tokens.
const UNIT_EPS: f32 = 1e-5;

/// How mixture weights are made.
#[derive(Clone, Debug)]
pub enum MixtureSource {
    /// omega = softmax(a), a learned.
    Logits(Tensor),
    /// omega itself.
    Weights(Tensor),
}

/// Linear branch of profile `official`: y gains `x M^T + c`.
#[derive(Clone, Debug)]
pub struct Branch {
    /// M^T, [d1, d1].
    pub weight: Tensor,
    pub bias: Tensor,
}

/// One noise layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// D [d1, e] followed by U [e, d1].
    pub proj: Tensor,
    /// [capacity, P].
    pub phi: Tensor,
    pub mixture: Option<MixtureSource>,
    pub branch: Option<Branch>,
}

/// All noise layers of a network.
#[derive(Clone, Debug)]
pub struct NoiseLayers {
    device: Device,
    pub layout: PhiLayout,
    pub width: usize,
    pub modules: usize,
    pub layers: Vec<Layer>,
    /// Only layers from this one on have modules and branches.
    pub first: usize,
    /// Standard deviation of the tokens behind each block, by which what the modules add is multiplied; none: by 1.
    pub rms: Vec<f64>,
    /// Scale 1 and shift 0 [d1], where modules see tokens through a LayerNorm.
    pub(super) unit: Option<(Tensor, Tensor)>,
    /// The fused kernel or the chain it replaces; the faster one where nothing is said.
    pub path: Option<Path>,
}

impl NoiseLayers {
    /// Layers without modules from D [d1, d2] and U [d2, d1] of every block; `official` adds a zero branch.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn new(
        device: &Device,
        layout: PhiLayout,
        width: usize,
        projections: &[(Vec<f64>, Vec<f64>)],
        official: bool,
    ) -> Result<Self> {
        let (d2, e) = (layout.d2, layout.e);
        let mut layers = Vec::new();
        for (down, up) in projections {
            let mut proj = vec![0.0; 2 * width * e];
            for i in 0..width {
                proj[i * e..i * e + d2].copy_from_slice(&down[i * d2..(i + 1) * d2]);
            }
            proj[width * e..width * e + d2 * width].copy_from_slice(up);
            let branch = if official {
                Some(Branch { weight: device.zeros(&[width, width])?, bias: device.zeros(&[width])? })
            } else {
                None
            };
            layers.push(Layer {
                proj: device.upload(&proj, &[2 * width * e])?,
                phi: device.zeros(&[0, layout.len()])?,
                mixture: None,
                branch,
            });
        }
        Ok(Self {
            device: device.clone(),
            layout,
            width,
            modules: 0,
            layers,
            first: 0,
            rms: Vec::new(),
            unit: None,
            path: None,
        })
    }

    /// The same layers, of which only those from `first` on take part.
    pub fn from(mut self, first: usize) -> Self {
        self.first = first;
        self.layers.iter_mut().take(first).for_each(|layer| layer.branch = None);
        self
    }

    /// The same layers, whose modules see tokens through a LayerNorm without scale and shift.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn normalised(mut self) -> Result<Self> {
        let unit = |x: f64| self.device.upload(&vec![x; self.width], &[self.width]);
        self.unit = Some((unit(1.0)?, unit(0.0)?));
        Ok(self)
    }

    /// The number of the newest module.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where there is none.
    pub fn newest(&self) -> Result<usize> {
        self.modules.checked_sub(1).ok_or_else(|| Error::Unsupported("there is no noise module to train".into()))
    }

    /// Whether the layers may be anything but the identity.
    pub fn changes(&self) -> bool {
        self.modules > 0 || self.layers.iter().any(|layer| layer.branch.is_some())
    }

    /// The layers that take part, with their blocks.
    pub fn adapted(&self) -> impl Iterator<Item = (usize, &Layer)> {
        self.layers.iter().enumerate().skip(self.first)
    }

    /// Multiplies what the modules of every layer add by `rms[layer]`, once and for all: U <- rms U.
    ///
    /// # Errors
    /// Device errors.
    pub fn scale(&mut self, rms: &[f64]) -> Result<()> {
        let from = self.width * self.layout.e;
        for (layer, &factor) in self.layers.iter_mut().zip(rms) {
            let (rows, cols) = (self.layout.e, self.width);
            let scaled = self.device.reals(&[2 * from])?;
            self.device.copy(&layer.proj, 0, &scaled, 0, from)?;
            let [x, out] = [&layer.proj, &scaled].map(|proj| Mat::at(proj, from, cols));
            self.device.run(&CopyBlock { x, out, rows, cols, factor, accumulate: false })?;
            layer.proj = scaled;
        }
        self.rms = rms.to_vec();
        Ok(())
    }

    /// The same tensors, as `device` sees them: it may be one that only plans.
    pub(super) fn on(&self, device: &Device) -> Self {
        Self { device: device.clone(), ..self.clone() }
    }

    /// Appends a module to every layer: `init(layer)` gives its parameters as one row of phi.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn add_module(&mut self, mut init: impl FnMut(usize) -> Result<Vec<f64>>) -> Result<()> {
        let (device, row) = (&self.device, self.layout.len());
        for (j, layer) in self.layers.iter_mut().enumerate().skip(self.first) {
            let wide = device.reals(&[self.modules + 1, row])?;
            device.copy(&layer.phi, 0, &wide, 0, self.modules * row)?;
            let new = device.upload(&init(j)?, &[row])?;
            device.copy(&new, 0, &wide, self.modules * row, row)?;
            layer.phi = wide;
        }
        self.modules += 1;
        Ok(())
    }

    /// So many modules with nothing in particular in them, to plan with.
    ///
    /// # Errors
    /// Allocation failures.
    pub(crate) fn resize(&mut self, modules: usize) -> Result<()> {
        self.modules = modules;
        for layer in self.layers.iter_mut().skip(self.first) {
            layer.phi = self.device.reals(&[modules, self.layout.len()])?;
            let omega = if modules > 0 { Some(self.device.reals(&[modules])?) } else { None };
            layer.mixture = omega.map(MixtureSource::Weights);
        }
        Ok(())
    }

    /// Bytes of the frozen projections and the branches on the device.
    pub(super) fn bytes(&self) -> u64 {
        let branch = |branch: &Branch| branch.weight.bytes() + branch.bias.bytes();
        self.layers.iter().map(|layer| layer.proj.bytes() + layer.branch.as_ref().map_or(0, branch)).sum()
    }

    /// Sets the mixture of every layer.
    ///
    /// # Errors
    /// Allocation failures.
    pub fn set_mixture(&mut self, values: &[f64], learned: bool) -> Result<()> {
        for layer in self.layers.iter_mut().skip(self.first) {
            let tensor = self.device.upload(values, &[values.len()])?;
            layer.mixture = Some(if learned { MixtureSource::Logits(tensor) } else { MixtureSource::Weights(tensor) });
        }
        Ok(())
    }

    /// The same layers, in whose mixtures no module but those to be `kept` has weight, and theirs is what it was; without any
    /// there is no mixture.
    ///
    /// # Errors
    /// Device errors.
    pub async fn keeping(&self, kept: impl Fn(usize) -> bool) -> Result<Self> {
        let mut noise = self.clone();
        for (j, layer) in noise.layers.iter_mut().enumerate().skip(self.first) {
            let omega = self.omega(j).await?;
            let some: Vec<f64> = omega.iter().enumerate().map(|(i, &w)| if kept(i) { w } else { 0.0 }).collect();
            layer.mixture = match some.iter().any(|&w| w != 0.0) {
                true => Some(MixtureSource::Weights(self.device.upload(&some, &[some.len()])?)),
                false => None,
            };
        }
        Ok(noise)
    }

    /// Layer `j` on the tokens `x` [B * N, d1], with `noise` naming how eps is made.
    ///
    /// # Errors
    /// Device errors.
    pub fn apply(&self, tape: &mut Tape, j: usize, x: &Var, noise: Noise) -> Result<Var> {
        let _part = self.device.part("noise", Some(j));
        let layer = &self.layers[j];
        let y = match &layer.mixture {
            None => x.clone(),
            Some(mixture) => {
                let weights = match mixture {
                    MixtureSource::Logits(a) => Weights::Softmax(a),
                    MixtureSource::Weights(omega) => Weights::Fixed(omega),
                };
                let op = NoiseOp {
                    proj: &layer.proj,
                    phi: &layer.phi,
                    weights,
                    layout: self.layout,
                    modules: self.modules,
                    noise,
                    path: self.path,
                    residual: self.unit.is_some().then_some(x),
                };
                {
                    let seen = seen(tape, &self.unit, x)?;
                    tape.noise(&seen, op)?
                }
            }
        };
        match &layer.branch {
            None => Ok(y),
            Some(branch) => {
                let (weight, bias) = (tape.var(&branch.weight), tape.var(&branch.bias));
                tape.linear(x, Linear { bias: Some(&bias), residual: Some(&y), ..Linear::new(&weight) })
            }
        }
    }

    /// Mixture weights omega of layer `j`, on the host.
    ///
    /// # Errors
    /// Device errors.
    pub async fn omega(&self, j: usize) -> Result<Vec<f64>> {
        match &self.layers[j].mixture {
            None => Ok(Vec::new()),
            Some(MixtureSource::Weights(omega)) => self.device.read(omega).await,
            Some(MixtureSource::Logits(a)) => Ok(softmax(&self.device.read::<f64>(a).await?)),
        }
    }
}

/// The normals of a stream for `rows` tokens [rows, e], as a noise layer samples them.
///
/// # Errors
/// Device errors.
pub fn normals(device: &Device, layout: PhiLayout, rows: usize, stream: Stream) -> Result<Tensor> {
    let out = device.reals(&[rows, layout.e])?;
    device.run(&PhiloxNormal { out: &out, d2: layout.d2, stream })?;
    Ok(out)
}

/// The tokens as modules see them: through a LayerNorm with this scale and shift, if there is one.
pub(super) fn seen(tape: &mut Tape, unit: &Option<(Tensor, Tensor)>, x: &Var) -> Result<Var> {
    match unit {
        None => Ok(x.clone()),
        Some((gamma, beta)) => {
            let (gamma, beta) = (tape.var(gamma), tape.var(beta));
            tape.layer_norm(x, &gamma, &beta, UNIT_EPS)
        }
    }
}

/// `exp(a_i) / sum_j exp(a_j)`, on the host.
pub fn softmax(a: &[f64]) -> Vec<f64> {
    let max = a.iter().copied().fold(f64::MIN, f64::max);
    let exps: Vec<f64> = a.iter().map(|x| (x - max).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|x| x / sum).collect()
}
