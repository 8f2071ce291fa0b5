//! Reals rounded to halves, two in a word, to take half the room.

use super::add::elementwise;
use crate::device::{Caps, DType, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `pack_halves.wgsl` and `unpack_halves.wgsl`; n counts reals.
    pub struct HalvesParams { n: u32 }
}

/// `words[i] = half(x[2 i]) | half(x[2 i + 1]) << 16`; what lies beyond the largest half, 65504, becomes that.
///
/// # Shapes
/// x holds n reals, words `[ceil(n / 2)]` integers. The error of a half is at most 2^-10 of it, and 2^-14 below 2^-14.
#[derive(Clone, Copy, Debug)]
pub struct PackHalves<'a> {
    pub x: &'a Tensor,
    pub words: &'a Tensor,
}

impl Kernel for PackHalves<'_> {
    const NAME: &'static str = "pack_halves";
    type Params = HalvesParams;

    fn params(&self) -> HalvesParams {
        HalvesParams { n: self.x.len() as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let words = View::shaped(self.words, [self.x.len().div_ceil(2)]);
        Ok(vec![read(1, "x", View::all(self.x)), write(2, "words", words).of(DType::U32)])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("pack_halves", self.words.len(), caps))
    }
}
