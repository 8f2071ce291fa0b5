//! Backward pass of attention, the part of one key: the gradients of k and v.

use super::attention::{AttentionParams, Division, Sizes};
use crate::Result;
use crate::device::{Caps, Form, Kernel, Operand, Plan, PlanKey, Tensor, Varied, read, write};

/// `dv_j = sum_i p_ij dy_i` and `dk_j = sum_i ds_ij q_i / sqrt(dh)` with `ds_ij = p_ij (dy_i . v_j - delta_i)` and
/// `p_ij = exp(q_i . k_j / sqrt(dh) - lse_i)`, for every head of every image. lse and delta are those of all keys; the
/// gradients of tokens and of a prefix do not depend on each other, and are made by a dispatch each.
///
/// FlashAttention-2 (Dao 2023, arXiv:2307.08691, algorithm 2).
///
/// # Shapes
/// qkv [batch * tokens, 3 * heads * dh]; dy [batch * tokens, heads * dh]; lse and delta [batch * heads * tokens].
#[derive(Clone, Copy, Debug)]
pub struct AttentionBackwardKey<'a> {
    pub qkv: &'a Tensor,
    pub dy: &'a Tensor,
    pub lse: &'a Tensor,
    pub delta: &'a Tensor,
    pub keys: Keys<'a>,
    pub batch: usize,
    pub tokens: usize,
    pub heads: usize,
}

/// The keys and values whose gradients [`AttentionBackwardKey`] makes.
#[derive(Clone, Copy, Debug)]
pub enum Keys<'a> {
    /// Those of the tokens: the k and v columns of dqkv [batch * tokens, 3 * heads * dh] are written and no others.
    Tokens { dqkv: &'a Tensor },
    /// Those of a prefix; prefix and dprefix [batch, 2, rows, heads * dh].
    Prefix { prefix: &'a Tensor, dprefix: &'a Tensor },
}

impl Keys<'_> {
    fn prefix(&self) -> Option<&Tensor> {
        match self {
            Self::Tokens { .. } => None,
            Self::Prefix { prefix, .. } => Some(prefix),
        }
    }
}

impl AttentionBackwardKey<'_> {
    pub(crate) fn sizes(&self) -> Sizes {
        Sizes::of(self.qkv, self.batch, self.tokens, self.heads).behind(self.keys.prefix())
    }

    /// The same, with the keys that get gradients as the tokens: they are what workgroups own.
    pub(crate) fn owned(&self) -> Sizes {
        let sizes = self.sizes();
        match self.keys {
            Keys::Tokens { .. } => sizes,
            Keys::Prefix { .. } => Sizes { tokens: sizes.prefix, ..sizes },
        }
    }
}

impl Kernel for AttentionBackwardKey<'_> {
    const NAME: &'static str = "attention_backward_key";
    type Params = AttentionParams;

    fn params(&self) -> AttentionParams {
        self.sizes().params()
    }

    fn operands(&self) -> Result<Vec<Operand<'_>>> {
        let sizes = self.sizes().checked(Self::NAME)?;
        let mut all = vec![read(1, "qkv", sizes.qkv(self.qkv))];
        if let Some(prefix) = self.keys.prefix() {
            all.push(read(2, "prefix", sizes.prefix(Self::NAME, prefix)?));
        }
        all.extend([
            read(3, "dy", sizes.merged(self.dy)),
            read(4, "lse", sizes.score_rows(self.lse)),
            read(5, "delta", sizes.score_rows(self.delta)),
        ]);
        all.push(match self.keys {
            Keys::Tokens { dqkv } => write(6, "dqkv", sizes.qkv(dqkv)),
            Keys::Prefix { dprefix, .. } => write(6, "dprefix", sizes.prefix(Self::NAME, dprefix)?),
        });
        Ok(all)
    }

    fn key(&self) -> Option<PlanKey> {
        Some(self.sizes().key())
    }

    fn flops(&self) -> f64 {
        8.0 * (self.dy.len() * self.owned().tokens) as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        self.chosen(caps)
    }
}

impl Varied for AttentionBackwardKey<'_> {
    varied_by_form!();

    fn planned(&self, form: Form, caps: &Caps) -> Option<Plan> {
        let (sizes, flags) = (self.owned(), [("PREFIX", self.keys.prefix().is_some())]);
        Some(match form {
            Form::Rows => sizes.rows_plan(caps, "attention_backward_key_rows", &flags),
            Form::Tiles => sizes.plan(caps, Self::NAME, Division::backward(&sizes, 2, 0), &flags),
        })
    }

    fn class(&self) -> &'static str {
        ""
    }

    fn size(&self) -> Vec<usize> {
        self.sizes().all()
    }
}
