//! A plain copy: what the memory of a device reaches at best.

use super::add::elementwise;
use super::fma_chains::quads;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `stream_copy.wgsl`; `quads` counts groups of four elements.
    pub struct StreamCopyParams {
        quads: u32,
    }
}

/// `y[i] = x[i]`, the copy of the STREAM benchmark.
///
/// # Shapes
/// x and y hold equally many elements, a multiple of four.
///
/// Source: McCalpin, "Memory Bandwidth and Machine Balance in Current High Performance Computers" (1995).
#[derive(Clone, Copy, Debug)]
pub struct StreamCopy<'a> {
    pub x: &'a Tensor,
    pub y: &'a Tensor,
}

impl Kernel for StreamCopy<'_> {
    const NAME: &'static str = "stream_copy";
    type Params = StreamCopyParams;

    fn params(&self) -> StreamCopyParams {
        StreamCopyParams { quads: (self.x.len() / 4) as u32 }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [x, y] = quads(Self::NAME, self.x, self.y)?;
        Ok(vec![read(1, "x", x), write(2, "y", y)])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise(Self::NAME, self.x.len() / 4, caps))
    }
}
