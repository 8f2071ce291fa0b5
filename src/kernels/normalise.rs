//! Pixels of images as a backbone takes them, from bytes.

use super::add::elementwise;
use crate::device::{Caps, DType, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Error, Result, params};

params! {
    /// Uniforms of `normalise.wgsl`.
    pub struct NormaliseParams { n: u32, plane: u32, channels: u32 }
}

/// `out[b][c][y][x] = table[c][bytes[b][c][y][x]]`, with `table[c][v] = (v / 255 - mean_c) / std_c`: a table gives every device
/// the same bits.
///
/// # Shapes
/// bytes: integers `[ceil(n / 4)]` with four bytes each, the first lowest; table [c, 256], out [b, c, h, w] of n elements.
#[derive(Clone, Copy, Debug)]
pub struct Normalise<'a> {
    pub bytes: &'a Tensor,
    pub table: &'a Tensor,
    pub out: &'a Tensor,
}

impl Normalise<'_> {
    pub(crate) fn channels(&self) -> usize {
        self.out.shape().get(1).copied().unwrap_or(0)
    }

    /// Bytes of a channel of an image.
    pub(crate) fn plane(&self) -> usize {
        self.out.shape().iter().skip(2).product()
    }
}

impl Kernel for Normalise<'_> {
    const NAME: &'static str = "normalise";
    type Params = NormaliseParams;

    fn params(&self) -> NormaliseParams {
        let (plane, channels) = (self.plane() as u32, self.channels() as u32);
        NormaliseParams { n: self.out.len() as u32, plane, channels }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let &[_, channels, _, _] = self.out.shape() else {
            return Err(Error::shape(Self::NAME, "out", "[b, c, h, w]", self.out.shape()));
        };
        Ok(vec![
            read(1, "bytes", View::shaped(self.bytes, [self.out.len().div_ceil(4)])).of(DType::U32),
            read(2, "table", View::shaped(self.table, [channels, 256])),
            write(3, "out", View::all(self.out)),
        ])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("normalise", self.out.len(), caps))
    }
}
