//! Backward pass of the fused noise layer, in one dispatch.

use super::noise_mix::{
    Demand, LANES, Noise, NoiseMixParams, PhiLayout, RowBlock, loops_fit, product_steps, rows_plan,
};
use crate::device::{Caps, Constant, DeviceClass, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Error, Result};

/// What the gradients of the newest module and of the mixture are made from.
#[derive(Clone, Copy, Debug)]
pub struct NewestOutputs<'a> {
    /// [rows, [`operand_cols`]].
    pub operands: &'a Tensor,
    /// Partial sums of `<dz, z_i>`, [[`partial_rows`], modules].
    pub domega: &'a Tensor,
}

/// Gradient of [`super::noise_mix::NoiseMix`] by x, with everything recomputed that it needs:
///
/// ```text
/// dz = dy U^T,  dg_i = [dz | dz eps_i] W2_i^T,  du_i = omega_i dg_i gelu'(u_i),  dh = sum_i du_i W1_i^T,
/// dx = dh D^T,  <dz, z_i> = <dg_i, g_i> + <dz, b2mu_i> + <dz eps_i, b2sigma_i>
/// ```
///
/// With `residual`, x is also what the mixture is added to: `dx = dy + dh D^T`.
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
    pub residual: bool,
    pub layout: PhiLayout,
    pub modules: usize,
    pub noise: Noise,
}

/// Columns of the operands.
pub fn operand_cols(layout: PhiLayout) -> usize {
    layout.e * if layout.layers == 2 { 7 } else { 3 }
}

/// Rows of a lane of the variant for software devices.
const PER_LANE: usize = 4;

/// Whether the variant for software devices runs: dh waits in the rows of dx, the others in the operands of the newest module.
pub(crate) fn by_rows(d1: usize, layout: PhiLayout, modules: usize, caps: &Caps) -> bool {
    let (inner, units) = (d1 / 4, layout.e / 4);
    let module = 2 * (3 * product_steps(units, units) + 2 * PER_LANE * units);
    let ends = 2 * product_steps(units, inner) + product_steps(inner, units) + 2 * PER_LANE * units;
    caps.class == DeviceClass::SoftwareGpu && inner >= units && loops_fit(modules * module + ends)
}

/// Rows of a job of the twins of the noise layer: few enough for the second-level cache, enough to repay packing the other
/// operand, and jobs that spread evenly over the cores. It does not depend on their number, so that neither do the results.
pub(crate) fn job_rows(rows: usize) -> usize {
    let jobs = rows.div_ceil(256).next_multiple_of(8);
    rows.div_ceil(jobs).next_multiple_of(8).max(64)
}

/// Rows of the partial sums of omega's gradient for tokens [rows, d1] on a device with `caps`.
///
/// # Errors
/// [`crate::Error::Limit`] where the device cannot run this width.
pub fn partial_rows([rows, d1]: [usize; 2], layout: PhiLayout, modules: usize, caps: &Caps) -> Result<usize> {
    Ok(match caps.class {
        DeviceClass::Cpu => rows.div_ceil(job_rows(rows)),
        _ if by_rows(d1, layout, modules, caps) => rows.div_ceil(PER_LANE * LANES) * LANES,
        _ => row_block(layout, caps)?.groups(rows),
    })
}

/// Kept: h, dz, dh. Passing: dz eps, and du where there are two layers.
pub(crate) fn row_block(layout: PhiLayout, caps: &Caps) -> Result<RowBlock> {
    let kernel = NoiseMixBackward::NAME;
    RowBlock::new(&Demand { kernel, layout, kept: 3, passing: layout.layers, in_registers: 2 }, caps)
}

impl Kernel for NoiseMixBackward<'_> {
    const NAME: &'static str = "noise_mix_backward";
    type Params = NoiseMixParams;

    fn params(&self) -> NoiseMixParams {
        let residual = self.residual.into();
        NoiseMixParams { residual, ..NoiseMixParams::new(self.x, self.layout, self.modules, self.noise) }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let shape = self.layout.tokens(Self::NAME, self.x)?;
        let [x, dy, dx] = [self.x, self.dy, self.dx].map(|x| View::shaped(x, shape));
        let mut all = vec![
            read(1, "x", x),
            read(2, "proj", self.layout.projections(self.proj, shape[1])),
            read(3, "phi", self.layout.modules(self.phi, self.modules)),
            read(4, "omega", View::span(self.omega, 0, self.modules)),
            read(5, "dy", dy),
            write(6, "dx", dx),
        ];
        if let Some(NewestOutputs { operands, domega }) = self.newest {
            all.push(write(7, "operands", View::shaped(operands, [shape[0], operand_cols(self.layout)])));
            all.push(write(8, "domega", View::shaped(domega, [domega.rows(), self.modules])));
        }
        Ok(all)
    }

    fn flops(&self) -> f64 {
        // h, dz and dx; of every module the first layer once more, and both layers back.
        let maps = (self.layout.layers + 1) * self.modules;
        self.x.rows() as f64 * (3 * self.proj.len() + maps * self.layout.len()) as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let rows = self.x.rows();
        if let Some(NewestOutputs { domega, .. }) = self.newest {
            let groups = partial_rows([rows, self.x.cols()], self.layout, self.modules, caps)?;
            if domega.rows() != groups {
                return Err(Error::shape(Self::NAME, "domega", [groups, self.modules], domega.shape()));
            }
        }
        if self.newest.is_some() && by_rows(self.x.cols(), self.layout, self.modules, caps) {
            return Ok(rows_plan("noise_mix_backward_rows", PER_LANE, rows, self.layout, self.noise, caps));
        }
        let mut plan = row_block(self.layout, caps)?.plan("noise_mix_backward", rows, self.layout, self.noise, caps);
        plan.constants.push(("NEWEST", Constant::Flag(self.newest.is_some())));
        if self.newest.is_some() {
            plan.shared_bytes += 4 * plan.workgroup;
        }
        Ok(plan)
    }
}
