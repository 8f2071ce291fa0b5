//! Folded inference: without sampling, a noise layer of any number of modules is one affine map (one-layer phi) or one
//! two-layer MLP whose hidden units are those of all modules (SPEC section 2).

use faer::Accum;

use crate::Result;
use crate::autograd::{Linear, Tape, Var};
use crate::device::{Device, Tensor};
use crate::kernels::gemm::Activation;
use crate::kernels::noise_mix::Noise;
use crate::linalg::{matrix, matrix_mut, product};
use crate::model::noise::{Branch, Layer, NoiseLayers, seen};

/// One noise layer, ready for inference: `y = x + [x F + b] + [mixture(x)]`.
#[derive(Clone, Debug, Default)]
pub struct Folded {
    /// F [d1, d1] and b: the branch, and modules that are affine in x.
    affine: Option<(Tensor, Tensor)>,
    mixture: Option<Mixture>,
}

/// What modules add.
#[derive(Clone, Debug)]
struct Mixture {
    /// Scale and shift of the LayerNorm through which they see x, if they do.
    unit: Option<(Tensor, Tensor)>,
    map: Map,
}

#[derive(Clone, Debug)]
enum Map {
    /// `x F + b`, F [d1, d1].
    Affine(Tensor, Tensor),
    /// `gelu(x D W1 + b1) W2 U + b2 U` with W1 [e, T e] and omega folded into W2 [T e, e].
    Mlp { down: Tensor, hidden: (Tensor, Tensor), out: (Tensor, Tensor), up: Tensor },
}

/// `a [m, k] b [k, n]` on the host.
fn matmul(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; m * n];
    product(matrix_mut(&mut out, m, n, n), Accum::Replace, matrix(a, m, k, k), matrix(b, k, n, n), 1.0);
    out
}

/// Folds every layer with eps = 0 (`Noise::Mean`) or, for profile `official`, z = mu + s (`Noise::Plain`).
///
/// # Errors
/// Device errors.
pub async fn fold(device: &Device, noise: &NoiseLayers, kind: Noise) -> Result<Vec<Folded>> {
    let mut folded = Vec::new();
    for (j, layer) in noise.layers.iter().enumerate() {
        let branch = match &layer.branch {
            None => None,
            Some(Branch { weight, bias }) => Some((device.read::<f64>(weight).await?, device.read::<f64>(bias).await?)),
        };
        folded.push(Weights { device, noise, layer, plain: matches!(kind, Noise::Plain) }.fold(j, branch).await?);
    }
    Ok(folded)
}

/// One layer on its way to the host.
struct Weights<'a> {
    device: &'a Device,
    noise: &'a NoiseLayers,
    layer: &'a Layer,
    /// z = mu + s instead of mu.
    plain: bool,
}

impl Weights<'_> {
    async fn fold(&self, j: usize, branch: Option<(Vec<f64>, Vec<f64>)>) -> Result<Folded> {
        let (device, d1, unit) = (self.device, self.noise.width, &self.noise.unit);
        let upload = |(weight, bias): (Vec<f64>, Vec<f64>)| -> Result<(Tensor, Tensor)> {
            Ok((device.upload(&weight, &[d1, d1])?, device.upload(&bias, &[d1])?))
        };
        let omega = self.noise.omega(j).await?;
        if omega.is_empty() {
            return Ok(Folded { affine: branch.map(upload).transpose()?, mixture: None });
        }
        let phi: Vec<f64> = device.read(&self.layer.phi).await?;
        let proj: Vec<f64> = device.read(&self.layer.proj).await?;
        if self.noise.layout.layers == 2 {
            let mixture = Mixture { unit: unit.clone(), map: self.mlp(&omega, &phi, &proj)? };
            return Ok(Folded { affine: branch.map(upload).transpose()?, mixture: Some(mixture) });
        }
        let (mut weight, mut bias) = self.affine(&omega, &phi, &proj);
        if unit.is_some() {
            let (weight, bias) = upload((weight, bias))?;
            let mixture = Mixture { unit: unit.clone(), map: Map::Affine(weight, bias) };
            return Ok(Folded { affine: branch.map(upload).transpose()?, mixture: Some(mixture) });
        }
        if let Some((m, c)) = branch {
            weight.iter_mut().zip(&m).for_each(|(x, y)| *x += y);
            bias.iter_mut().zip(&c).for_each(|(x, y)| *x += y);
        }
        Ok(Folded { affine: Some(upload((weight, bias))?), mixture: None })
    }

    /// `sum_i omega_i (b_mu + [plain] b_sigma)`, the bias of the second layers.
    fn bias(&self, omega: &[f64], phi: &[f64]) -> Vec<f64> {
        let (layout, e) = (self.noise.layout, self.noise.layout.e);
        let mut bias = vec![0.0; e];
        for (row, w) in phi.chunks(layout.len()).zip(omega) {
            let b2 = &row[layout.b2()..][..2 * e];
            (0..e).for_each(|u| bias[u] += w * (b2[u] + if self.plain { b2[e + u] } else { 0.0 }));
        }
        bias
    }

    /// F and b of one-layer maps.
    fn affine(&self, omega: &[f64], phi: &[f64], proj: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (layout, e, d1) = (self.noise.layout, self.noise.layout.e, self.noise.width);
        let (down, up) = proj.split_at(d1 * e);
        let mut inner = vec![0.0; e * e];
        for (row, w) in phi.chunks(layout.len()).zip(omega) {
            let w2 = &row[layout.w2()..][..2 * e * e];
            (0..e * e).for_each(|u| inner[u] += w * (w2[u] + if self.plain { w2[e * e + u] } else { 0.0 }));
        }
        let weight = matmul(&matmul(down, &inner, d1, e, e), up, d1, e, d1);
        (weight, matmul(&self.bias(omega, phi), up, 1, e, d1))
    }

    /// The hidden layers of all modules side by side.
    fn mlp(&self, omega: &[f64], phi: &[f64], proj: &[f64]) -> Result<Map> {
        let (device, layout, e, d1) = (self.device, self.noise.layout, self.noise.layout.e, self.noise.width);
        let hidden = self.noise.modules * e;
        let (mut w1, mut b1, mut w2) = (vec![0.0; e * hidden], vec![0.0; hidden], vec![0.0; hidden * e]);
        for (i, (row, w)) in phi.chunks(layout.len()).zip(omega).enumerate() {
            // W1 is [e, 2e], its left half that of mu.
            for k in 0..e {
                w1[k * hidden + i * e..][..e].copy_from_slice(&row[k * 2 * e..][..e]);
            }
            b1[i * e..][..e].copy_from_slice(&row[layout.b1()..][..e]);
            let mu = &row[layout.w2()..][..e * e];
            w2[i * e * e..][..e * e].iter_mut().zip(mu).for_each(|(x, y)| *x = w * y);
        }
        let (down, up) = proj.split_at(d1 * e);
        Ok(Map::Mlp {
            down: device.upload(down, &[d1, e])?,
            hidden: (device.upload(&w1, &[e, hidden])?, device.upload(&b1, &[hidden])?),
            out: (device.upload(&w2, &[hidden, e])?, device.upload(&self.bias(omega, phi), &[e])?),
            up: device.upload(up, &[e, d1])?,
        })
    }
}

/// Folded layers of the shapes that these layers have, with nothing in them: to plan with.
///
/// # Errors
/// Allocation failures.
pub fn stand_in(device: &Device, noise: &NoiseLayers) -> Result<Vec<Folded>> {
    let (d1, e, hidden) = (noise.width, noise.layout.e, noise.modules * noise.layout.e);
    let affine = || -> Result<_> { Ok((device.reals(&[d1, d1])?, device.reals(&[d1])?)) };
    let layer = |layer: &Layer| {
        let one_layer = noise.layout.layers == 1;
        let merged = layer.mixture.is_some() && one_layer && noise.unit.is_none();
        let mixture = match &layer.mixture {
            Some(_) if !merged => {
                let map = if one_layer {
                    let (weight, bias) = affine()?;
                    Map::Affine(weight, bias)
                } else {
                    Map::Mlp {
                        down: device.reals(&[d1, e])?,
                        hidden: (device.reals(&[e, hidden])?, device.reals(&[hidden])?),
                        out: (device.reals(&[hidden, e])?, device.reals(&[e])?),
                        up: device.reals(&[e, d1])?,
                    }
                };
                Some(Mixture { unit: noise.unit.clone(), map })
            }
            _ => None,
        };
        let affine = if merged || layer.branch.is_some() { Some(affine()?) } else { None };
        Ok(Folded { affine, mixture })
    };
    noise.layers.iter().map(layer).collect()
}

impl Folded {
    /// The layer on tokens x [B * N, d1].
    ///
    /// # Errors
    /// Device errors.
    pub fn apply(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        let mut y = x.clone();
        if let Some((weight, bias)) = &self.affine {
            let (weight, bias) = (tape.var(weight), tape.var(bias));
            y = tape.linear(x, Linear { bias: Some(&bias), residual: Some(&y), ..Linear::new(&weight) })?;
        }
        match &self.mixture {
            None => Ok(y),
            Some(mixture) => {
                let seen = seen(tape, &mixture.unit, x)?;
                mixture.map.apply(tape, &seen, &y)
            }
        }
    }
}

impl Map {
    /// `y + map(x)`.
    fn apply(&self, tape: &mut Tape, x: &Var, y: &Var) -> Result<Var> {
        match self {
            Self::Affine(weight, bias) => {
                let (weight, bias) = (tape.var(weight), tape.var(bias));
                tape.linear(x, Linear { bias: Some(&bias), residual: Some(y), ..Linear::new(&weight) })
            }
            Self::Mlp { down, hidden, out, up } => {
                let [down, w1, b1, w2, b2, up] = [down, &hidden.0, &hidden.1, &out.0, &out.1, up].map(|t| tape.var(t));
                let h = tape.linear(x, Linear::new(&down))?;
                let activation = Activation::Gelu;
                let g = tape.linear(&h, Linear { bias: Some(&b1), activation, ..Linear::new(&w1) })?;
                let z = tape.linear(&g, Linear { bias: Some(&b2), ..Linear::new(&w2) })?;
                tape.linear(&z, Linear { residual: Some(y), ..Linear::new(&up) })
            }
        }
    }
}
