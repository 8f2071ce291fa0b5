//! Pools the tokens of every image: the class token alone, or the mean of the patches.

use std::ops::Range;

use super::add::elementwise;
use crate::device::{Caps, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Error, Result, params};

params! {
    /// Uniforms of `token_mean.wgsl` and `token_mean_backward.wgsl`; n counts the written elements.
    pub struct TokenMeanParams {
        n: u32,
        cols: u32,
        tokens: u32,
        first: u32,
        count: u32,
    }
}

/// `out[b] = 1 / count sum_(t < count) x[b][first + t]`, the mean over `range` = first..first + count.
///
/// # Shapes
/// x [b, tokens, d], out [b, d].
#[derive(Clone, Debug)]
pub struct TokenMean<'a> {
    pub x: &'a Tensor,
    pub range: Range<usize>,
    pub out: &'a Tensor,
}

/// The shape [b, tokens, d] of tokens among which `range` lies.
///
/// # Errors
/// [`Error::Shape`] where it is none, or the range is empty or leaves it.
pub(super) fn tokens(op: &'static str, arg: &'static str, of: &Tensor, range: &Range<usize>) -> Result<[usize; 3]> {
    match of.shape() {
        &[b, tokens, d] if !range.is_empty() && range.end <= tokens => Ok([b, tokens, d]),
        other => Err(Error::shape(op, arg, format!("[b, tokens, d] with the tokens {range:?}"), other)),
    }
}

/// Uniforms for tokens of shape [b, tokens, cols] when `n` elements are written.
pub(super) fn token_params(all: &Tensor, range: &Range<usize>, n: usize) -> TokenMeanParams {
    let &[_, tokens, cols] = all.shape() else { unreachable!("tokens have shape [b, tokens, d]") };
    let [n, cols, tokens, first, count] = [n, cols, tokens, range.start, range.len()].map(|x| x as u32);
    TokenMeanParams { n, cols, tokens, first, count }
}

impl Kernel for TokenMean<'_> {
    const NAME: &'static str = "token_mean";
    type Params = TokenMeanParams;

    fn params(&self) -> TokenMeanParams {
        token_params(self.x, &self.range, self.out.len())
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let [b, _, d] = tokens(Self::NAME, "x", self.x, &self.range)?;
        Ok(vec![read(1, "x", View::all(self.x)), write(2, "out", View::shaped(self.out, [b, d]))])
    }

    fn flops(&self) -> f64 {
        (self.out.len() * self.range.len()) as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        Ok(elementwise("token_mean", self.out.len(), caps))
    }
}
