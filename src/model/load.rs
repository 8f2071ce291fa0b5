//! From the tensors of a file to those of a backbone on a device.

use crate::Result;
use crate::device::Device;
use crate::model::architecture::{Architecture, Mlp, Position, QkvBias};
use crate::model::position::{resample, rotary};
use crate::model::vit::{Affine, Block, Norm, Parts, Places, transpose};
use crate::model::weights::Weights;

/// Takes the tensors of an architecture, which are known to be there.
pub(super) struct Loader<'a> {
    pub device: &'a Device,
    pub architecture: &'a Architecture,
    pub w: Weights,
    /// Matrices of blocks are kept in half precision.
    pub halves: bool,
    /// What a frozen backbone has folded into one tensor stays apart, to be trained.
    pub apart: bool,
}

impl Loader<'_> {
    pub fn parts(mut self) -> Result<Parts> {
        let (c, s) = (self.architecture.sizes, self.architecture.style);
        let d = c.dim;
        let places = self.places()?;
        let ins = c.channels * c.patch * c.patch;
        let patch = transpose(&self.w.take("patch_embed.proj.weight", &[d, c.channels, c.patch, c.patch])?, d, ins);
        let rotary = match s.position {
            Position::Rotary { temperature } => {
                let (grid, dim) = (c.grid(), d / c.heads);
                Some(self.device.upload(&rotary(grid, dim, temperature), &[grid * grid, dim])?)
            }
            Position::Learned { .. } => None,
        };
        Ok(Parts {
            patch: self.device.upload(&patch, &[ins, d])?,
            places,
            rotary,
            norm_pre: s.norm_pre.then(|| self.norm("norm_pre")).transpose()?,
            blocks: (0..c.depth).map(|j| self.block(j)).collect::<Result<_>>()?,
            norm: s.norm.then(|| self.norm("norm")).transpose()?,
            fc_norm: s.fc_norm.then(|| self.norm("fc_norm")).transpose()?,
        })
    }

    /// The tokens in front with their positions, and what is added to the patches.
    fn places(&mut self) -> Result<Places> {
        let (c, s) = (self.architecture.sizes, self.architecture.style);
        let (d, patches) = (c.dim, c.grid().pow(2));
        let mut token = |name: &str, rows: usize| match rows {
            0 => Ok(Vec::new()),
            _ => self.w.take(name, &[1, rows, d]),
        };
        let (class_token, registers) = (token("cls_token", s.class_token.into())?, token("reg_token", c.registers)?);
        let (mut of_front, mut pos) = (Vec::new(), None);
        if let Position::Learned { grid, front: with } = s.position {
            of_front = self.w.take("pos_embed", &[1, with + grid * grid, d])?;
            pos = Some(resample(&of_front.split_off(with * d), grid, c.grid(), d));
        }
        let bias = if s.patch_bias { Some(self.w.take("patch_embed.proj.bias", &[d])?) } else { None };
        let rows = |x: &[f64]| {
            let rows = x.len() / d;
            (rows > 0).then(|| self.device.upload(x, &[rows, d])).transpose()
        };
        if self.apart {
            let position = pos.map(|pos| [of_front, pos].concat()).unwrap_or_default();
            return Ok(Places::Apart {
                class_token: rows(&class_token)?,
                registers: rows(&registers)?,
                position: rows(&position)?,
                bias: bias.map(|bias| self.device.upload(&bias, &[d])).transpose()?,
            });
        }
        let (mut front, mut pos) = ([class_token, registers].concat(), pos.unwrap_or_else(|| vec![0.0; patches * d]));
        front.iter_mut().zip(&of_front).for_each(|(x, p)| *x += p);
        if let Some(bias) = bias {
            pos.chunks_exact_mut(d).for_each(|patch| patch.iter_mut().zip(&bias).for_each(|(x, b)| *x += b));
        }
        Ok(Places::Merged { front: rows(&front)?, pos: self.device.upload(&pos, &[patches, d])? })
    }

    fn block(&mut self, j: usize) -> Result<Block> {
        let (c, s) = (self.architecture.sizes, self.architecture.style);
        let (d, name) = (c.dim, |part: &str| format!("blocks.{j}.{part}"));
        let scales = self.architecture.scales().map(|scales| scales.map(name));
        let [ls1, ls2] = scales.map_or([None, None], |scales| scales.map(Some));
        let mut qkv_bias = match s.qkv_bias {
            QkvBias::None => Vec::new(),
            QkvBias::Whole => vec![self.w.take(&name("attn.qkv.bias"), &[3 * d])?],
            QkvBias::QueryValue => {
                let [q, v] = ["q", "v"].map(|x| self.w.take(&name(&format!("attn.{x}_bias")), &[d]));
                vec![q?, vec![0.0; d], v?]
            }
        };
        if !self.apart && qkv_bias.len() > 1 {
            qkv_bias = vec![qkv_bias.concat()];
        }
        let qkv = self.w.take(&name("attn.qkv.weight"), &[3 * d, d])?;
        let (outs, fc1, bias) = match s.mlp {
            Mlp::Plain { .. } | Mlp::Gated { packed: true, .. } => {
                let outs = if s.mlp.functions().1.is_some() { 2 * c.mlp } else { c.mlp };
                let weight = self.w.take(&name("mlp.fc1.weight"), &[outs, d])?;
                (outs, weight, self.w.take(&name("mlp.fc1.bias"), &[outs])?)
            }
            Mlp::Gated { packed: false, .. } => {
                let mut both = |part: &str, shape: &[usize]| -> Result<Vec<f64>> {
                    let [gate, value] = ["g", "x"].map(|x| self.w.take(&name(&format!("mlp.fc1_{x}.{part}")), shape));
                    Ok([gate?, value?].concat())
                };
                (2 * c.mlp, both("weight", &[c.mlp, d])?, both("bias", &[c.mlp])?)
            }
        };
        Ok(Block {
            norm1: self.norm(&name("norm1"))?,
            qkv: self.affine(&name("attn.qkv"), [3 * d, d], qkv, qkv_bias, None)?,
            proj: self.scaled(&name("attn.proj"), [d, d], ls1)?,
            norm2: self.norm(&name("norm2"))?,
            fc1: self.affine(&name("mlp.fc1"), [outs, d], fc1, vec![bias], None)?,
            fc2: self.scaled(&name("mlp.fc2"), [d, c.mlp], ls2)?,
        })
    }

    fn norm(&mut self, name: &str) -> Result<Norm> {
        let d = self.architecture.sizes.dim;
        let mut part = |part: &str| self.device.upload(&self.w.take(&format!("{name}.{part}"), &[d])?, &[d]);
        Ok(Norm { weight: part("weight")?, bias: part("bias")? })
    }

    /// A map whose result is multiplied by the tensor `scale`.
    fn scaled(&mut self, name: &str, [outs, ins]: [usize; 2], scale: Option<String>) -> Result<Affine> {
        let mut weight = self.w.take(&format!("{name}.weight"), &[outs, ins])?;
        let mut bias = self.w.take(&format!("{name}.bias"), &[outs])?;
        let gamma = scale.map(|scale| self.w.take(&scale, &[outs])).transpose()?;
        if self.apart {
            return self.affine(name, [outs, ins], weight, vec![bias], gamma);
        }
        if let Some(gamma) = gamma {
            for ((row, bias), gamma) in weight.chunks_mut(ins).zip(&mut bias).zip(gamma) {
                row.iter_mut().for_each(|x| *x *= gamma);
                *bias *= gamma;
            }
        }
        self.affine(name, [outs, ins], weight, vec![bias], None)
    }

    /// `weight` [outs, ins] on the device as [ins, outs].
    fn affine(
        &self,
        name: &str,
        [outs, ins]: [usize; 2],
        weight: Vec<f64>,
        bias: Vec<Vec<f64>>,
        scale: Option<Vec<f64>>,
    ) -> Result<Affine> {
        let weight = transpose(&weight, outs, ins);
        let weight = if self.halves {
            self.device.upload_f16(&in_halves(&self.w, name, &weight)?, &[ins, outs])?
        } else {
            self.device.upload(&weight, &[ins, outs])?
        };
        let row = |x: Vec<f64>| self.device.upload(&x, &[x.len()]);
        let bias = bias.into_iter().map(row).collect::<Result<_>>()?;
        Ok(Affine { weight, bias, scale: scale.map(row).transpose()? })
    }
}

/// Numbers as halves; `name` is the map that they belong to.
///
/// # Errors
/// [`Error::Weights`](crate::Error::Weights) where one is above what a half holds and would become infinite.
fn in_halves(w: &Weights, name: &str, numbers: &[f64]) -> Result<Vec<half::f16>> {
    let packed: Vec<_> = numbers.iter().map(|&x| half::f16::from_f64(x)).collect();
    if packed.iter().all(|x| x.is_finite()) {
        return Ok(packed);
    }
    // NaN must not vanish in a maximum.
    let largest =
        numbers.iter().fold(0.0f64, |top, x| if x.is_nan() || top.is_nan() { f64::NAN } else { top.max(x.abs()) });
    Err(w.error(format!(
        "`{name}.weight` holds {largest:e}, and a half holds at most {}: use f16_weights = false",
        half::f16::MAX
    )))
}
