//! Folded inference: without sampling, a noise layer of any number of modules is one affine map (one-layer phi) or one
//! two-layer MLP whose hidden units are those of all modules (SPEC section 2).

use faer::Accum;

use crate::Result;
use crate::autograd::{Linear, Tape, Var};
use crate::device::{Device, Tensor};
use crate::kernels::gemm::Activation;
use crate::kernels::noise_mix::Noise;
use crate::linalg::{matrix, matrix_mut, product};
use crate::model::noise::{Layer, NoiseLayers};

/// One noise layer, ready for inference.
#[derive(Clone, Debug)]
pub enum Folded {
    /// No module yet.
    Identity,
    /// `y = x + x F + b`, F [d1, d1].
    Affine { weight: Tensor, bias: Tensor },
    /// `y = x + gelu(x D W1 + b1) W2 U + b2 U` with W1 [e, T e] and omega folded into W2 [T e, e].
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
    let (layout, d1, modules) = (noise.layout, noise.width, noise.modules);
    let (e, plain) = (layout.e, matches!(kind, Noise::Plain));
    let mut folded = Vec::new();
    for (j, layer) in noise.layers.iter().enumerate() {
        let omega = noise.omega(j).await?;
        if omega.is_empty() {
            folded.push(Folded::Identity);
            continue;
        }
        let phi: Vec<f64> = device.read(&layer.phi).await?;
        let proj: Vec<f64> = device.read(&layer.proj).await?;
        let (down, up) = proj.split_at(d1 * e);
        let rows = || phi.chunks(layout.len()).zip(&omega);
        // b = sum_i omega_i (b_mu + [plain] b_sigma)
        let mut bias = vec![0.0; e];
        for (row, w) in rows() {
            let b2 = &row[layout.b2()..][..2 * e];
            (0..e).for_each(|u| bias[u] += w * (b2[u] + if plain { b2[e + u] } else { 0.0 }));
        }
        if layout.layers == 1 {
            let mut inner = vec![0.0; e * e];
            for (row, w) in rows() {
                let w2 = &row[layout.w2()..][..2 * e * e];
                (0..e * e).for_each(|u| inner[u] += w * (w2[u] + if plain { w2[e * e + u] } else { 0.0 }));
            }
            let mut weight = matmul(&matmul(down, &inner, d1, e, e), up, d1, e, d1);
            let mut bias = matmul(&bias, up, 1, e, d1);
            if let Some(branch) = &layer.branch {
                let (m, c): (Vec<f64>, Vec<f64>) =
                    (device.read(&branch.weight).await?, device.read(&branch.bias).await?);
                weight.iter_mut().zip(&m).for_each(|(x, y)| *x += y);
                bias.iter_mut().zip(&c).for_each(|(x, y)| *x += y);
            }
            folded.push(Folded::Affine {
                weight: device.upload(&weight, &[d1, d1])?,
                bias: device.upload(&bias, &[d1])?,
            });
            continue;
        }
        let hidden = modules * e;
        let (mut w1, mut b1, mut w2) = (vec![0.0; e * hidden], vec![0.0; hidden], vec![0.0; hidden * e]);
        for (i, (row, w)) in rows().enumerate() {
            // W1 is [e, 2e], its left half that of mu.
            for k in 0..e {
                w1[k * hidden + i * e..][..e].copy_from_slice(&row[k * 2 * e..][..e]);
            }
            b1[i * e..][..e].copy_from_slice(&row[layout.b1()..][..e]);
            let mu = &row[layout.w2()..][..e * e];
            w2[i * e * e..][..e * e].iter_mut().zip(mu).for_each(|(x, y)| *x = w * y);
        }
        folded.push(Folded::Mlp {
            down: device.upload(down, &[d1, e])?,
            hidden: (device.upload(&w1, &[e, hidden])?, device.upload(&b1, &[hidden])?),
            out: (device.upload(&w2, &[hidden, e])?, device.upload(&bias, &[e])?),
            up: device.upload(up, &[e, d1])?,
        });
    }
    Ok(folded)
}

/// Folded layers of the shapes that these layers have, with nothing in them: to plan with.
///
/// # Errors
/// Allocation failures.
pub fn stand_in(device: &Device, noise: &NoiseLayers) -> Result<Vec<Folded>> {
    let (d1, e, hidden) = (noise.width, noise.layout.e, noise.modules * noise.layout.e);
    let layer = |layer: &Layer| {
        if layer.mixture.is_none() {
            return Ok(Folded::Identity);
        }
        if noise.layout.layers == 1 {
            return Ok(Folded::Affine { weight: device.reals(&[d1, d1])?, bias: device.reals(&[d1])? });
        }
        Ok(Folded::Mlp {
            down: device.reals(&[d1, e])?,
            hidden: (device.reals(&[e, hidden])?, device.reals(&[hidden])?),
            out: (device.reals(&[hidden, e])?, device.reals(&[e])?),
            up: device.reals(&[e, d1])?,
        })
    };
    noise.layers.iter().map(layer).collect()
}

impl Folded {
    /// The layer on tokens x [B * N, d1].
    ///
    /// # Errors
    /// Device errors.
    pub fn apply(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        match self {
            Self::Identity => Ok(x.clone()),
            Self::Affine { weight, bias } => {
                let (weight, bias) = (tape.var(weight), tape.var(bias));
                tape.linear(x, Linear { bias: Some(&bias), residual: Some(x), ..Linear::new(&weight) })
            }
            Self::Mlp { down, hidden, out, up } => {
                let [down, w1, b1, w2, b2, up] = [down, &hidden.0, &hidden.1, &out.0, &out.1, up].map(|t| tape.var(t));
                let h = tape.linear(x, Linear::new(&down))?;
                let activation = Activation::Gelu;
                let g = tape.linear(&h, Linear { bias: Some(&b1), activation, ..Linear::new(&w1) })?;
                let z = tape.linear(&g, Linear { bias: Some(&b2), ..Linear::new(&w2) })?;
                tape.linear(&z, Linear { residual: Some(x), ..Linear::new(&up) })
            }
        }
    }
}
