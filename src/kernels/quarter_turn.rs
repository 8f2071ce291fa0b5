//! Turns square images by quarters, each by its own number of them.

use super::add::elementwise;
use crate::device::{Caps, DType, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Error, Result, params};

params! {
    /// Uniforms of `quarter_turn.wgsl`; n counts the elements of all images.
    pub struct QuarterTurnParams { n: u32, channels: u32, side: u32 }
}

/// `out[b][c]` is `x[b][c]` after `turns[b]` quarter turns counter-clockwise, `out[i][j] = x[j][s - 1 - i]` each. Only the
/// two low bits of a number of turns count.
///
/// # Shapes
/// x and out [b, c, s, s], turns: integers `[b]`.
///
/// Source: `torch.rot90(x[b], turns[b], dims=(1, 2))`.
#[derive(Clone, Copy, Debug)]
pub struct QuarterTurn<'a> {
    pub x: &'a Tensor,
    pub turns: &'a Tensor,
    pub out: &'a Tensor,
}

impl QuarterTurn<'_> {
    pub(crate) fn channels(&self) -> usize {
        self.x.shape().get(1).copied().unwrap_or(0)
    }
}

impl Kernel for QuarterTurn<'_> {
    const NAME: &'static str = "quarter_turn";
    type Params = QuarterTurnParams;

    fn params(&self) -> QuarterTurnParams {
        let [n, channels, side] = [self.x.len(), self.channels(), self.x.cols()].map(|x| x as u32);
        QuarterTurnParams { n, channels, side }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let (b, c, side) = match self.x.shape() {
            &[b, c, height, width] if height == width => (b, c, width),
            other => return Err(Error::shape(Self::NAME, "x", "[b, c, s, s]", other)),
        };
        Ok(vec![
            read(1, "x", View::all(self.x)),
            read(2, "turns", View::shaped(self.turns, [b])).of(DType::U32),
            write(3, "out", View::shaped(self.out, [b, c, side, side])),
        ])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("quarter_turn", self.x.len(), caps))
    }
}
