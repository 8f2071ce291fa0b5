//! A plain copy: what the memory of a device reaches at best.

use super::add::elementwise;
use super::fma_chains::quads;
use crate::device::{Bound, Caps, Io, Kernel, Plan, Real, Tensor, read, write};
use crate::{Result, cpu, params};

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

impl<'a> StreamCopy<'a> {
    /// # Errors
    /// [`crate::Error::Shape`] where the sizes differ or are no multiple of four.
    pub fn new(x: &'a Tensor, y: &'a Tensor) -> Result<Self> {
        quads("stream_copy", x, y)?;
        Ok(Self { x, y })
    }
}

impl Kernel for StreamCopy<'_> {
    const NAME: &'static str = "stream_copy";
    type Params = StreamCopyParams;

    fn params(&self) -> StreamCopyParams {
        StreamCopyParams { quads: (self.x.len() / 4) as u32 }
    }

    fn tensors(&self) -> Vec<Bound<'_>> {
        vec![read(1, self.x), write(2, self.y)]
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise(Self::NAME, self.x.len() / 4, caps))
    }

    fn twin<R: Real>(&self, io: Io<'_, R>) {
        cpu::stream_copy::stream_copy(io);
    }
}
