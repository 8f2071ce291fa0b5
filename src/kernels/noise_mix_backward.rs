//! Backward pass of the fused noise layer, in one dispatch.

use super::noise::{Noise, PhiLayout};
use super::noise_mix::{Demand, NoiseMixParams, Tile};
use crate::device::{Bound, Caps, Constant, DeviceClass, Io, Kernel, Plan, Real, Tensor, read, write};
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

/// Rows of the partial sums of omega's gradient for tokens [rows, d1] on a device with `caps`.
///
/// # Errors
/// [`crate::Error::Limit`] where the device cannot run this width.
pub fn groups(tokens: [usize; 2], layout: PhiLayout, modules: usize, caps: &Caps) -> Result<usize> {
    Ok(match caps.class {
        DeviceClass::Cpu => tokens[0].div_ceil(cpu::noise_mix::job_rows(tokens[0])),
        _ => tile(tokens, layout, modules, caps)?.groups(tokens[0]),
    })
}

/// Kept: h, dz, dh. Passing: dz eps, and du where there are two layers.
fn tile(tokens: [usize; 2], layout: PhiLayout, modules: usize, caps: &Caps) -> Result<Tile> {
    let (kept, passing, in_registers) = (3, layout.layers, 2);
    let kernel = NoiseMixBackward::NAME;
    Tile::new(&Demand { kernel, layout, tokens, modules, kept, passing, products: 3, in_registers }, caps)
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
        let rows = self.x.rows();
        let tile = tile([rows, self.x.cols()], self.layout, self.modules, caps)?;
        let mut plan = tile.plan("noise_mix_backward", rows, self.layout, self.noise, caps);
        plan.constants.push(("NEWEST", Constant::Flag(self.newest.is_some())));
        if self.newest.is_some() {
            plan.shared_bytes += 4 * plan.workgroup;
        }
        Ok(plan)
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::noise_mix_backward::noise_mix_backward(self, io);
    }
}
