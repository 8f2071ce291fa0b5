//! The mixture of one-layer maps, of which a noise layer then needs one alone.

use super::noise_mix::PhiLayout;
use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, grid, read, write};
use crate::{Result, params};

/// Threads of a workgroup; each makes four neighbouring elements.
const WG: usize = 64;

params! {
    /// Uniforms of `mean_map.wgsl`.
    pub struct MeanMapParams { e: u32, modules: u32 }
}

/// `M = sum_i omega_i W_i, b = sum_i omega_i b_i` over the maps of mu, with `plain` over those of mu + sigma:
/// `sum_i omega_i (h W_i + b_i) = h M + b` costs the same for any number of modules.
///
/// # Shapes
/// phi [>= modules, P] of one-layer maps; omega [>= modules]; out [e + 1, e]: M, then b.
#[derive(Clone, Copy, Debug)]
pub struct MeanMap<'a> {
    pub phi: &'a Tensor,
    pub omega: &'a Tensor,
    pub out: &'a Tensor,
    pub layout: PhiLayout,
    pub modules: usize,
    pub plain: bool,
}

impl Kernel for MeanMap<'_> {
    const NAME: &'static str = "mean_map";
    type Params = MeanMapParams;

    fn params(&self) -> MeanMapParams {
        MeanMapParams { e: self.layout.e as u32, modules: self.modules as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        Ok(vec![
            read(1, "phi", self.layout.modules(self.phi, self.modules)),
            read(2, "omega", View::span(self.omega, 0, self.modules)),
            write(3, "out", self.layout.mean(self.out)),
        ])
    }

    fn flops(&self) -> f64 {
        2.0 * self.out.len() as f64 * self.modules as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(Plan {
            shader: "mean_map",
            constants: vec![("PLAIN", Constant::Flag(self.plain)), ("WG", Constant::U32(WG as u32))],
            workgroup: WG as u32,
            shared_bytes: 0,
            groups: grid(self.out.len().div_ceil(4 * WG), caps),
        })
    }
}
