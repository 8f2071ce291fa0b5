//! Dropout: a random share of the elements becomes zero.

use super::add::elementwise;
use super::philox_normal::Stream;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Result, params};

params! {
    /// Uniforms of `dropout.wgsl`.
    pub struct DropoutParams {
        n: u32,
        /// Element of the stream that the first one is.
        first: u32,
        threshold: u32,
        factor: f32,
        accumulate: u32,
        seed_low: u32, seed_high: u32,
        /// `layer * 65536 + task`
        upper: u32,
        step: u32,
    }
}

/// `y[i] (+)= x[i] / (1 - share)`, or zero where the random word of the element is below `share 2^32`: the words are those of
/// [`PhiloxNormal`](super::philox_normal::PhiloxNormal) for rows of as many elements without padding. So the same mask comes
/// again for the backward pass, and parts of a batch have that of the whole.
///
/// # Shapes
/// x and y [rows, d]; 0 <= share < 1.
///
/// Source: Srivastava et al., Dropout (JMLR 15, 2014), in the scaling of `torch.nn.functional.dropout`.
#[derive(Clone, Copy, Debug)]
pub struct Dropout<'a> {
    pub x: &'a Tensor,
    pub y: &'a Tensor,
    /// What share of the elements becomes zero.
    pub share: f64,
    pub stream: Stream,
    /// Adds to `y` instead of overwriting it.
    pub accumulate: bool,
}

impl Dropout<'_> {
    /// Element of the stream that the first one is.
    pub(crate) fn first(&self) -> u32 {
        (self.stream.first_row as usize * self.x.cols()) as u32
    }

    /// Words below this are those of elements that become zero.
    pub(crate) fn threshold(&self) -> u32 {
        (self.share * 4_294_967_296.0) as u32
    }

    /// What the others are multiplied by.
    pub(crate) fn factor(&self) -> f64 {
        1.0 / (1.0 - self.share)
    }
}

impl Kernel for Dropout<'_> {
    const NAME: &'static str = "dropout";
    type Params = DropoutParams;

    fn params(&self) -> DropoutParams {
        let [upper, step] = self.stream.counter();
        DropoutParams {
            n: self.x.len() as u32,
            first: self.first(),
            threshold: self.threshold(),
            factor: self.factor() as f32,
            accumulate: self.accumulate.into(),
            seed_low: self.stream.seed as u32,
            seed_high: (self.stream.seed >> 32) as u32,
            upper,
            step,
        }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        Ok(vec![read(1, "x", View::all(self.x)), write(2, "y", View::shaped(self.y, [self.x.len()]))])
    }

    /// A thread makes the elements of a block of four words, of which the first may be none of these.
    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("dropout", (self.first() as usize % 4 + self.x.len()).div_ceil(4), caps))
    }
}
