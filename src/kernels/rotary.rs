//! Rotary position embedding of queries and keys.

use super::add::elementwise;
use super::attention::Sizes;
use crate::device::{Caps, Constant, Kernel, Operand, Plan, Tensor, View, read, write};
use crate::{Error, Result, params};

params! {
    /// Uniforms of `rotary.wgsl`; n counts pairs.
    pub struct RotaryParams {
        n: u32,
        tokens: u32,
        prefix: u32,
        heads: u32,
        dim: u32,
    }
}

/// Turns the pairs (i, i + dim / 2) of every head of q and k in place, by the angle of token and pair:
/// `x_i <- x_i cos_i - x_(i + dim / 2) sin_i`, `x_(i + dim / 2) <- x_(i + dim / 2) cos_i + x_i sin_i`. With `inverse` by
/// the opposite angle, which is the rule for the gradient: a rotation is orthogonal. Tokens in front of those that the
/// table has rows for, and v, stay as they are.
///
/// # Shapes
/// x [batch * tokens, 3 * heads * dim] with columns q | k | v; table [tokens - prefix, dim] with columns cos | sin.
///
/// Source: Su et al., "RoFormer"; in two dimensions as in Siméoni et al., "DINOv3".
#[derive(Clone, Copy, Debug)]
pub struct Rotary<'a> {
    pub x: &'a Tensor,
    pub table: &'a Tensor,
    pub batch: usize,
    pub tokens: usize,
    pub heads: usize,
    pub inverse: bool,
}

impl Rotary<'_> {
    pub(crate) fn sizes(&self) -> Sizes {
        Sizes::of(self.x, self.batch, self.tokens, self.heads)
    }

    /// Tokens that stay as they are.
    pub(crate) fn prefix(&self) -> usize {
        self.tokens.saturating_sub(self.table.rows())
    }

    fn pairs(&self) -> usize {
        self.batch * self.table.rows() * self.sizes().width()
    }
}

impl Kernel for Rotary<'_> {
    const NAME: &'static str = "rotary";
    type Params = RotaryParams;

    fn params(&self) -> RotaryParams {
        let sizes = [self.pairs(), self.tokens, self.prefix(), self.heads, self.sizes().dim];
        let [n, tokens, prefix, heads, dim] = sizes.map(|x| x as u32);
        RotaryParams { n, tokens, prefix, heads, dim }
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let sizes = self.sizes();
        if sizes.dim == 0 || !sizes.dim.is_multiple_of(2) {
            return Err(Error::Unsupported(format!("rotary: heads of {} columns have no pairs", sizes.dim)));
        }
        let rows = self.tokens - self.prefix();
        Ok(vec![read(1, "table", View::shaped(self.table, [rows, sizes.dim])), write(2, "x", sizes.qkv(self.x))])
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        let mut plan = elementwise("rotary", self.pairs(), caps);
        plan.constants.push(("INVERSE", Constant::Flag(self.inverse)));
        Ok(plan)
    }
}
