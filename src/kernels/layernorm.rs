//! Layer normalisation over rows.

use crate::device::{Bound, Caps, Constant, DeviceClass, Io, Kernel, Plan, Real, Tensor, grid, read, write};
use crate::{Error, Result, cpu, params};

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
    ///
    /// # Errors
    /// [`Error::Shape`] where the sizes do not fit together.
    pub fn new(x: &'a Tensor, gamma: &'a Tensor, beta: &'a Tensor, out: &'a Tensor, eps: f32) -> Result<Self> {
        for (name, tensor) in [("gamma", gamma), ("beta", beta)] {
            if tensor.len() != x.cols() {
                return Err(Error::shape("layernorm", name, [x.cols()], tensor.shape()));
            }
        }
        if (out.rows(), out.cols()) != (x.rows(), x.cols()) {
            return Err(Error::shape("layernorm", "out", x.shape(), out.shape()));
        }
        Ok(Self { x, gamma, beta, out, stats: None, eps })
    }

    /// Also writes `stats`.
    ///
    /// # Errors
    /// [`Error::Shape`] where stats does not hold two numbers a row.
    pub fn with_stats(self, stats: &'a Tensor) -> Result<Self> {
        if stats.len() != 2 * self.x.rows() {
            return Err(Error::shape("layernorm", "stats", [self.x.rows(), 2], stats.shape()));
        }
        Ok(Self { stats: Some(stats), ..self })
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
pub(super) fn rowwise(shader: &'static str, [rows, cols]: [usize; 2], shared: u32, caps: &Caps) -> Plan {
    let lanes = lanes_for_row(cols, caps);
    Plan {
        shader,
        constants: vec![("WG", Constant::U32(lanes))],
        workgroup: lanes,
        shared_bytes: shared * lanes,
        groups: if cols == 0 { [0, 1, 1] } else { grid(rows, caps) },
    }
}

/// Plan for software devices: a lane makes a row of `cols` elements, 8 lanes a workgroup. `None` where rows do not consist
/// of quads.
pub(super) fn row_a_lane(shader: &'static str, [rows, cols]: [usize; 2], caps: &Caps) -> Option<Plan> {
    const WG: u32 = 8;
    if caps.class != DeviceClass::SoftwareGpu || cols == 0 || !cols.is_multiple_of(4) {
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

    fn tensors(&self) -> Vec<Bound<'_>> {
        let mut all = vec![read(1, self.x), read(2, self.gamma), read(3, self.beta), write(4, self.out)];
        all.extend(self.stats.map(|s| write(5, s)));
        all
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let shape = [self.x.rows(), self.x.cols()];
        let mut plan = row_a_lane("layernorm_rows", shape, caps).unwrap_or_else(|| rowwise(Self::NAME, shape, 4, caps));
        plan.constants.push(("STATS", Constant::Flag(self.stats.is_some())));
        Ok(plan)
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::layernorm::layernorm(self, io);
    }
}
