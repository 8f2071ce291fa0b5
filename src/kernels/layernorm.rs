//! Layer normalisation over rows.

use crate::device::{
    Caps, Constant, DeviceClass, Form, Kernel, Operand, Plan, PlanKey, Tensor, Varied, View, grid, read, write,
};
use crate::{Result, params};

params! {
    /// Uniforms of `layernorm.wgsl`.
    pub struct LayerNormParams {
        rows: u32,
        cols: u32,
        eps: f32,
    }
}

/// `out = (x - mean) / sqrt(var + eps) * gamma + beta` over each row, var the biased variance.
///
/// # Shapes
/// x and out [.., d], gamma and beta `[d]`, stats [rows, 2].
///
/// Source: Ba, Kiros and Hinton, "Layer Normalization".
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<'a> {
    pub x: &'a Tensor,
    pub gamma: &'a Tensor,
    pub beta: &'a Tensor,
    pub out: &'a Tensor,
    /// Receives (mean, 1 / sqrt(var + eps)) of each row, for the backward pass.
    pub stats: Option<&'a Tensor>,
    pub eps: f32,
}

impl<'a> LayerNorm<'a> {
    /// Without stats.
    pub fn new(x: &'a Tensor, gamma: &'a Tensor, beta: &'a Tensor, out: &'a Tensor, eps: f32) -> Self {
        Self { x, gamma, beta, out, stats: None, eps }
    }
}

/// Lanes that share a row of `cols` elements: software devices run eight at once and pay for every further barrier.
pub(super) fn lanes_for_row(cols: usize, caps: &Caps) -> u32 {
    match caps.class {
        DeviceClass::SoftwareGpu => 8,
        _ if cols <= 1024 => 64,
        _ => 256,
    }
}

/// Plan of a kernel that gives each row a workgroup and each lane `shared` bytes of workgroup memory.
pub(super) fn workgroup_a_row(shader: &'static str, [rows, cols]: [usize; 2], shared: u32, caps: &Caps) -> Plan {
    let lanes = lanes_for_row(cols, caps);
    Plan {
        shader,
        constants: vec![("WG", Constant::U32(lanes))],
        workgroup: lanes,
        shared_bytes: shared * lanes,
        groups: if cols == 0 { [0, 1, 1] } else { grid(rows, caps) },
    }
}

/// The plan of a kernel that has both forms for the rows of x.
pub(super) fn by_form(
    tiles: &'static str,
    rows: &'static str,
    form: Form,
    x: &Tensor,
    shared: u32,
    caps: &Caps,
) -> Option<Plan> {
    let shape = [x.rows(), x.cols()];
    match form {
        Form::Rows => row_a_lane(rows, shape, caps),
        Form::Tiles => Some(workgroup_a_row(tiles, shape, shared, caps)),
    }
}

/// A lane makes a row of `cols` elements, 8 lanes a workgroup. `None` where rows do not consist of quads.
fn row_a_lane(shader: &'static str, [rows, cols]: [usize; 2], caps: &Caps) -> Option<Plan> {
    const WG: u32 = 8;
    if cols == 0 || !cols.is_multiple_of(4) {
        return None;
    }
    // Quads that a lane takes at a time must divide the row.
    let quads = [4, 2, 1].into_iter().find(|q| (cols / 4).is_multiple_of(*q))?;
    Some(Plan {
        shader,
        constants: vec![("QUADS", Constant::U32(quads as u32)), ("WG", Constant::U32(WG))],
        workgroup: WG,
        shared_bytes: 0,
        groups: grid(rows.div_ceil(WG as usize), caps),
    })
}

impl Kernel for LayerNorm<'_> {
    const NAME: &'static str = "layernorm";
    type Params = LayerNormParams;

    fn params(&self) -> LayerNormParams {
        LayerNormParams { rows: self.x.rows() as u32, cols: self.x.cols() as u32, eps: self.eps }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let shape = [self.x.rows(), self.x.cols()];
        let mut all = vec![
            read(1, "x", View::shaped(self.x, shape)),
            read(2, "gamma", View::shaped(self.gamma, [shape[1]])),
            read(3, "beta", View::shaped(self.beta, [shape[1]])),
            write(4, "out", View::shaped(self.out, shape)),
        ];
        all.extend(self.stats.map(|stats| write(5, "stats", View::shaped(stats, [2 * shape[0]]))));
        Ok(all)
    }

    fn key(&self) -> Option<PlanKey> {
        Some([self.x.rows(), self.x.cols(), 0, 0, 0, 0])
    }

    fn flops(&self) -> f64 {
        // Mean, variance, and the row with scale and shift.
        8.0 * self.x.len() as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        self.chosen(caps)
    }
}

impl Varied for LayerNorm<'_> {
    varied_by_form!();

    fn planned(&self, form: Form, caps: &Caps) -> Option<Plan> {
        let mut plan = by_form(Self::NAME, "layernorm_rows", form, self.x, 4, caps)?;
        plan.constants.push(("STATS", Constant::Flag(self.stats.is_some())));
        Some(plan)
    }

    fn class(&self) -> &'static str {
        if self.stats.is_some() { "stats" } else { "" }
    }

    fn size(&self) -> Vec<usize> {
        vec![self.x.rows(), self.x.cols()]
    }
}
