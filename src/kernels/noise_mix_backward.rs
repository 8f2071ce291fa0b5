//! Backward pass of the fused noise layer, in one dispatch.

use super::noise::{Noise, PhiLayout};
use super::noise_mix::{NoiseMixParams, Tile};
use crate::device::{Bound, Caps, Constant, DeviceClass, Io, Kernel, Plan, Real, Tensor, grid, read, write};
use crate::{Result, cpu};

/// What the gradients of the newest module and of the mixture are made from.
#[derive(Clone, Copy, Debug)]
pub struct NewestOutputs<'a> {
    /// [rows, [`operand_cols`]].
    pub operands: &'a Tensor,
    /// Partial sums of `<dz, z_i>`, [[`groups`], modules].
    pub domega: &'a Tensor,
}

/// Gradient of [`super::noise_mix::NoiseMix`] by x, with everything recomputed that it needs:
///
/// ```text
/// dz = dy U^T,  dg_i = [dz | dz eps_i] W2_i^T,  du_i = omega_i dg_i gelu'(u_i),  dh = sum_i du_i W1_i^T,
/// dx = dy + dh D^T,  <dz, z_i> = <dg_i, g_i> + <dz, b2mu_i> + <dz eps_i, b2sigma_i>
/// ```
///
/// For the newest module it also writes the operands of the gradients of its weights,
/// `h | g_mu | g_sigma | du_mu | du_sigma | dmu | ds` (with one layer `h | dmu | ds`), where dmu = omega dz, ds = omega dz eps.
///
/// # Shapes
/// As there; dy, dx [rows, d1].
#[derive(Clone, Copy, Debug)]
pub struct NoiseMixBackward<'a> {
    pub x: &'a Tensor,
    pub proj: &'a Tensor,
    pub phi: &'a Tensor,
    pub omega: &'a Tensor,
    pub dy: &'a Tensor,
    pub dx: &'a Tensor,
    pub newest: Option<NewestOutputs<'a>>,
    pub layout: PhiLayout,
    pub modules: usize,
    pub noise: Noise,
}

/// Columns of the operands.
pub fn operand_cols(layout: PhiLayout) -> usize {
    layout.e * if layout.layers == 2 { 7 } else { 3 }
}

/// Rows of the partial sums of omega's gradient on a device with `caps`.
///
/// # Errors
/// [`crate::Error::Limit`] where the device cannot run this width.
pub fn groups(rows: usize, layout: PhiLayout, noise: Noise, caps: &Caps) -> Result<usize> {
    Ok(match caps.class {
        DeviceClass::Cpu => rows.div_ceil(cpu::noise_mix::TILE),
        _ => rows.div_ceil(tile(layout, noise, caps)?.rows),
    })
}

/// Elements of workgroup memory for each row: h, dz (and dz eps if sampled), and du where there are two layers.
fn row_floats(layout: PhiLayout, noise: Noise) -> usize {
    let grads = if matches!(noise, Noise::Sample { .. }) { 2 } else { 1 };
    layout.e * (1 + grads + if layout.layers == 2 { 2 } else { 0 })
}

fn tile(layout: PhiLayout, noise: Noise, caps: &Caps) -> Result<Tile> {
    // One element for each thread is left for the sums of omega's gradient.
    let left = caps.workgroup_memory - 4 * caps.max_invocations.min(256);
    let caps = Caps { workgroup_memory: left, max_invocations: caps.max_invocations.min(256), ..caps.clone() };
    Tile::new("noise_mix_backward", layout.e, row_floats(layout, noise), &caps)
}

impl Kernel for NoiseMixBackward<'_> {
    const NAME: &'static str = "noise_mix_backward";
    type Params = NoiseMixParams;

    fn params(&self) -> NoiseMixParams {
        NoiseMixParams::new(self.x, self.layout, self.modules, self.noise)
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        let ins = [self.x, self.proj, self.phi, self.omega, self.dy];
        let mut all: Vec<_> = (1..).zip(ins).map(|(i, t)| read(i, t)).collect();
        all.push(write(6, self.dx));
        all.extend(self.newest.iter().flat_map(|n| [write(7, n.operands), write(8, n.domega)]));
        all
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let tile = tile(self.layout, self.noise, caps)?;
        let mut constants = tile.constants(self.layout, self.noise);
        constants.push(("NEWEST", Constant::Flag(self.newest.is_some())));
        let sums = if self.newest.is_some() { tile.threads() } else { 0 };
        Ok(Plan {
            shader: "noise_mix_backward",
            constants,
            workgroup: tile.threads() as u32,
            shared_bytes: ((tile.rows * row_floats(self.layout, self.noise) + sums) * 4) as u32,
            groups: grid(self.x.rows().div_ceil(tile.rows), caps),
        })
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::noise_mix_backward::noise_mix_backward(self, io);
    }
}
