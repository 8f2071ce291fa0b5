//! Reals from halves, two in a word.

use super::add::elementwise;
use super::pack_halves::HalvesParams;
use crate::Result;
use crate::device::{Caps, DType, Kernel, Operand, Plan, Tensor, View, read, write};

/// `x[2 i], x[2 i + 1] = ` the halves in `words[i]`, as [`PackHalves`](super::pack_halves::PackHalves) put them there.
///
/// # Shapes
/// words `[ceil(n / 2)]` integers, x holds n reals.
#[derive(Clone, Copy, Debug)]
pub struct UnpackHalves<'a> {
    pub words: &'a Tensor,
    pub x: &'a Tensor,
}

impl Kernel for UnpackHalves<'_> {
    const NAME: &'static str = "unpack_halves";
    type Params = HalvesParams;

    fn params(&self) -> HalvesParams {
        HalvesParams { n: self.x.len() as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let words = View::shaped(self.words, [self.x.len().div_ceil(2)]);
        Ok(vec![read(1, "words", words).of(DType::U32), write(2, "x", View::all(self.x))])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("unpack_halves", self.words.len(), caps))
    }
}
