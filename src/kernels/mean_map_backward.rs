//! Backward pass of the mixture of one-layer maps.

use super::mean_map::MeanMapParams;
use super::noise_mix::PhiLayout;
use crate::Result;
use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, grid, read, write};

/// Threads of a workgroup, which makes one module.
const WG: usize = 64;

/// From the gradient (dM | db) of [`super::mean_map::MeanMap`]: `domega_i = <W_i, dM> + <b_i, db>`, and
/// `omega_T (dM | db)` for the maps of the newest module that take part, zero for those that do not.
///
/// # Shapes
/// phi, omega as there; grad [e + 1, e]; dphi `[P]`; domega [1, modules].
#[derive(Clone, Copy, Debug)]
pub struct MeanMapBackward<'a> {
    pub phi: &'a Tensor,
    pub omega: &'a Tensor,
    pub grad: &'a Tensor,
    pub dphi: &'a Tensor,
    pub domega: &'a Tensor,
    pub layout: PhiLayout,
    pub modules: usize,
    pub plain: bool,
}

impl Kernel for MeanMapBackward<'_> {
    const NAME: &'static str = "mean_map_backward";
    type Params = MeanMapParams;

    fn params(&self) -> MeanMapParams {
        MeanMapParams { e: self.layout.e as u32, modules: self.modules as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        Ok(vec![
            read(1, "phi", self.layout.modules(self.phi, self.modules)),
            read(2, "omega", View::span(self.omega, 0, self.modules)),
            read(3, "grad", self.layout.mean(self.grad)),
            write(4, "dphi", View::shaped(self.dphi, [self.layout.len()])),
            write(5, "domega", View::shaped(self.domega, [self.modules])),
        ])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(Plan {
            shader: "mean_map_backward",
            constants: vec![("PLAIN", Constant::Flag(self.plain)), ("WG", Constant::U32(WG as u32))],
            workgroup: WG as u32,
            shared_bytes: 4 * WG as u32,
            groups: grid(self.modules, caps),
        })
    }
}
