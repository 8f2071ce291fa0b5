//! Chains of fused multiply-adds that stay in registers: what the arithmetic of a device reaches at best.

use super::add::elementwise;
use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Error, Result, params};

params! {
    /// Uniforms of `fma_chains.wgsl`; `quads` counts groups of four elements.
    pub struct FmaChainsParams {
        quads: u32,
        rounds: u32,
        factor: f32,
        term: f32,
    }
}

/// `y[i] = p + q`, where p from `x[i]` and q from `x[i] + 1` go through `rounds * ROUND` steps `v <- v factor + term`.
///
/// In exact arithmetic, with the fixed point `f = term / (1 - factor)`:
/// `y[i] = 2 f + (2 x[i] + 1 - 2 f) factor^(rounds * ROUND)`.
///
/// # Shapes
/// x and y hold equally many elements, a multiple of four.
#[derive(Clone, Copy, Debug)]
pub struct FmaChains<'a> {
    pub x: &'a Tensor,
    pub y: &'a Tensor,
    pub rounds: usize,
    pub factor: f32,
    pub term: f32,
}

impl FmaChains<'_> {
    /// Steps of one round, which is unrolled.
    pub const ROUND: usize = 16;
    /// Chains of one element.
    pub const CHAINS: usize = 2;

    /// Multiplications and additions, each counted.
    pub fn flops(&self) -> f64 {
        2.0 * (Self::CHAINS * Self::ROUND * self.rounds) as f64 * self.x.len() as f64
    }
}

/// Equally many elements in x and in y, a multiple of four.
pub(super) fn quads<'a>(op: &'static str, x: &'a Tensor, y: &'a Tensor) -> Result<[View<'a>; 2]> {
    if !x.len().is_multiple_of(4) {
        return Err(Error::shape(op, "x", "[a multiple of 4]", x.shape()));
    }
    Ok([x, y].map(|z| View::shaped(z, [x.len()])))
}

impl Kernel for FmaChains<'_> {
    const NAME: &'static str = "fma_chains";
    type Params = FmaChainsParams;

    fn params(&self) -> FmaChainsParams {
        FmaChainsParams {
            quads: (self.x.len() / 4) as u32,
            rounds: self.rounds as u32,
            factor: self.factor,
            term: self.term,
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [x, y] = quads(Self::NAME, self.x, self.y)?;
        Ok(vec![read(1, "x", x), write(2, "y", y)])
    }

    fn flops(&self) -> f64 {
        (2 * Self::ROUND * Self::CHAINS) as f64 * (self.rounds * self.x.len()) as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let mut plan = elementwise(Self::NAME, self.x.len() / 4, caps);
        plan.constants.push(("ROUND", Constant::U32(Self::ROUND as u32)));
        Ok(plan)
    }
}
