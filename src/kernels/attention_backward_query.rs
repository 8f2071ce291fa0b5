//! Backward pass of attention, the part of one query: its delta and the gradient of q.

use super::attention::{AttentionParams, Division, Sizes};
use crate::Result;
use crate::device::{Caps, Form, Kernel, Operand, Plan, PlanKey, Tensor, Varied, read, write};

/// `delta_i = dy_i . out_i` and `dq_i = sum_j ds_ij k_j / sqrt(dh)` with `ds_ij = p_ij (dy_i . v_j - delta_i)` and
/// `p_ij = exp(q_i . k_j / sqrt(dh) - lse_i)`, for every head of every image.
///
/// FlashAttention-2 (Dao 2023, arXiv:2307.08691, algorithm 2), with a dispatch of its own instead of atomic sums.
///
/// # Shapes
/// qkv and dqkv [batch * tokens, 3 * heads * dh], of which the q columns of dqkv are written and no others; prefix
/// [batch, 2, rows, heads * dh], keys and values in front of the tokens'; out and dy [batch * tokens, heads * dh]; lse and
/// delta (written) [batch * heads * tokens].
#[derive(Clone, Copy, Debug)]
pub struct AttentionBackwardQuery<'a> {
    pub qkv: &'a Tensor,
    pub prefix: Option<&'a Tensor>,
    pub out: &'a Tensor,
    pub dy: &'a Tensor,
    pub lse: &'a Tensor,
    pub delta: &'a Tensor,
    pub dqkv: &'a Tensor,
    pub batch: usize,
    pub tokens: usize,
    pub heads: usize,
}

impl AttentionBackwardQuery<'_> {
    pub(crate) fn sizes(&self) -> Sizes {
        Sizes::of(self.qkv, self.batch, self.tokens, self.heads).behind(self.prefix)
    }
}

impl Kernel for AttentionBackwardQuery<'_> {
    const NAME: &'static str = "attention_backward_query";
    type Params = AttentionParams;

    fn params(&self) -> AttentionParams {
        self.sizes().params()
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let sizes = self.sizes().checked(Self::NAME)?;
        let mut all = vec![read(1, "qkv", sizes.qkv(self.qkv))];
        if let Some(prefix) = self.prefix {
            all.push(read(2, "prefix", sizes.prefix(Self::NAME, prefix)?));
        }
        all.extend([
            read(3, "dy", sizes.merged(self.dy)),
            read(4, "lse", sizes.score_rows(self.lse)),
            read(5, "out", sizes.merged(self.out)),
            write(6, "delta", sizes.score_rows(self.delta)),
            write(7, "dqkv", sizes.qkv(self.dqkv)),
        ]);
        Ok(all)
    }

    fn key(&self) -> Option<PlanKey> {
        Some(self.sizes().key())
    }

    fn flops(&self) -> f64 {
        6.0 * (self.dy.len() * self.sizes().keys()) as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        self.chosen(caps)
    }
}

impl Varied for AttentionBackwardQuery<'_> {
    varied_by_form!();

    fn planned(&self, form: Form, caps: &Caps) -> Option<Plan> {
        let (sizes, flags) = (self.sizes(), [("PREFIX", self.prefix.is_some())]);
        Some(match form {
            Form::Rows => sizes.rows_plan(caps, "attention_backward_query_rows", &flags),
            Form::Tiles => sizes.plan(caps, Self::NAME, Division::backward(&sizes, 1, 2), &flags),
        })
    }

    fn class(&self) -> &'static str {
        ""
    }

    fn size(&self) -> Vec<usize> {
        self.sizes().all()
    }
}
