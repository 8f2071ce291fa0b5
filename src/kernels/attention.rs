//! Multi-head self-attention without an N x N matrix in memory.

use crate::device::{Caps, Constant, Form, Kernel, Operand, Plan, PlanKey, Tensor, Varied, View, grid, read, write};
use crate::{Error, Result, params};

params! {
    /// Uniforms of the attention shaders; `scale` multiplies the scores, `prefix` counts the rows of an image's prefix.
    pub struct AttentionParams { batch: u32, tokens: u32, heads: u32, scale: f32, prefix: u32 }
}

/// `out_i = sum_j softmax_j(q_i . k_j / sqrt(dh)) v_j` for every head of every image, with the row log-sum-exp that
/// the backward pass needs. Keys and values of a prefix come in front of those of the tokens (prefix tuning, Li and Liang
/// 2021, arXiv:2101.00190); it has no queries.
///
/// Online softmax after Milakov and Gimelshein 2018 (arXiv:1805.02867) and FlashAttention-2 (Dao 2023,
/// arXiv:2307.08691).
///
/// # Shapes
/// qkv [batch * tokens, 3 * heads * dh] with columns q | k | v, heads one after the other inside each;
/// prefix [batch, 2, rows, heads * dh], the keys and values of any number of rows, heads as in qkv;
/// out [batch * tokens, heads * dh]; lse [batch * heads * tokens].
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    pub qkv: &'a Tensor,
    pub prefix: Option<&'a Tensor>,
    pub out: &'a Tensor,
    pub lse: Option<&'a Tensor>,
    pub batch: usize,
    pub tokens: usize,
    pub heads: usize,
}

impl<'a> Attention<'a> {
    pub(crate) fn sizes(&self) -> Sizes {
        Sizes::of(self.qkv, self.batch, self.tokens, self.heads).behind(self.prefix)
    }
}

impl Kernel for Attention<'_> {
    const NAME: &'static str = "attention";
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
        all.push(write(3, "out", sizes.merged(self.out)));
        all.extend(self.lse.map(|lse| write(4, "lse", sizes.score_rows(lse))));
        Ok(all)
    }

    fn key(&self) -> Option<PlanKey> {
        Some(self.sizes().key())
    }

    fn flops(&self) -> f64 {
        4.0 * (self.out.len() * self.sizes().keys()) as f64
    }

    fn plan(&self, caps: &Caps) -> Result<Plan> {
        self.chosen(caps)
    }
}

impl Varied for Attention<'_> {
    varied_by_form!();

    fn planned(&self, form: Form, caps: &Caps) -> Option<Plan> {
        let (sizes, flags) = (self.sizes(), [("LSE", self.lse.is_some()), ("PREFIX", self.prefix.is_some())]);
        Some(match form {
            Form::Rows => sizes.rows_plan(caps, "attention_rows", &flags),
            Form::Tiles => {
                // More tokens of a thread save loads; the sums of wide heads leave no registers to them.
                let [rows, quads] = if sizes.dim <= 96 { [2, 1] } else { [1, 2] };
                sizes.plan(caps, Self::NAME, Division { results: 1, rows, quads, kept: 2 }, &flags)
            }
        })
    }

    fn class(&self) -> &'static str {
        if self.lse.is_some() { "lse" } else { "" }
    }

    fn size(&self) -> Vec<usize> {
        self.sizes().all()
    }
}

/// What the workgroups and threads of an attention kernel own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Division {
    /// Workgroups of the same block of tokens.
    pub results: usize,
    /// Quads of tokens of a thread.
    pub rows: usize,
    /// Quads of a token's sums of a thread.
    pub quads: usize,
    /// Numbers of a token in workgroup memory beside the tiles.
    pub kept: usize,
}

impl Division {
    /// That of the backward kernels, which hold p and ds beside the sums. More quads of a token save loads, fewer leave
    /// registers to other threads.
    pub fn backward(sizes: &Sizes, results: usize, kept: usize) -> Self {
        Self { results, rows: 1, quads: if sizes.dim <= 48 { 1 } else { 2 }, kept }
    }
}

/// Sizes that the three attention kernels share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub batch: usize,
    pub tokens: usize,
    pub heads: usize,
    /// Columns of one head.
    pub dim: usize,
    /// Keys of an image in front of those of its tokens.
    pub prefix: usize,
}

impl Sizes {
    /// # Errors
    /// [`Error::Unsupported`] where the head dimension is not a multiple of 4 up to 128.
    pub fn checked(self, op: &'static str) -> Result<Self> {
        if self.dim == 0 || self.dim > 128 || !self.dim.is_multiple_of(4) {
            return Err(Error::Unsupported(format!(
                "{op}: heads of {} columns; multiples of 4 up to 128 are offered",
                self.dim
            )));
        }
        Ok(self)
    }

    /// q | k | v, or their gradients.
    pub fn qkv<'a>(&self, tensor: &'a Tensor) -> View<'a> {
        View::shaped(tensor, [self.rows(), 3 * self.width()])
    }

    /// Keys and values of a prefix, or their gradients.
    ///
    /// # Errors
    /// [`Error::Shape`] where it has no rows, or there are no tokens behind it.
    pub fn prefix<'a>(&self, op: &'static str, tensor: &'a Tensor) -> Result<View<'a>> {
        if self.batch > 0 && self.prefix.min(self.tokens) == 0 {
            let got = format!("{} in front of {}", self.prefix, self.tokens);
            return Err(Error::Shape { op, arg: "prefix", expected: "rows in front of tokens".into(), got });
        }
        Ok(View::shaped(tensor, [self.batch, 2, self.prefix, self.width()]))
    }

    /// The heads of all tokens side by side.
    pub fn merged<'a>(&self, tensor: &'a Tensor) -> View<'a> {
        View::shaped(tensor, [self.rows(), self.width()])
    }

    /// A number for each row of all score matrices.
    pub fn score_rows<'a>(&self, tensor: &'a Tensor) -> View<'a> {
        View::shaped(tensor, [self.scores()])
    }

    pub fn of(qkv: &Tensor, batch: usize, tokens: usize, heads: usize) -> Self {
        Self { batch, tokens, heads, dim: qkv.cols() / 3 / heads.max(1), prefix: 0 }
    }

    /// The same behind a prefix.
    pub fn behind(self, prefix: Option<&Tensor>) -> Self {
        Self { prefix: prefix.map_or(0, |prefix| prefix.rows() / (2 * self.batch).max(1)), ..self }
    }

    /// Rows of qkv.
    pub fn rows(&self) -> usize {
        self.batch * self.tokens
    }

    /// Keys of an image.
    pub fn keys(&self) -> usize {
        self.prefix + self.tokens
    }

    /// Images, tokens, heads, and columns of a head.
    pub fn all(&self) -> Vec<usize> {
        vec![self.batch, self.tokens, self.heads, self.dim]
    }

    /// What a plan depends on.
    pub fn key(&self) -> PlanKey {
        [self.batch, self.tokens, self.heads, self.dim, self.prefix, 0]
    }

    /// Columns of q, k or v.
    pub fn width(&self) -> usize {
        self.heads * self.dim
    }

    /// Rows of all score matrices.
    pub fn scores(&self) -> usize {
        self.batch * self.heads * self.tokens
    }

    pub fn scale(&self) -> f64 {
        1.0 / (self.dim as f64).sqrt()
    }

    pub fn params(&self) -> AttentionParams {
        AttentionParams {
            batch: self.batch as u32,
            tokens: self.tokens as u32,
            heads: self.heads as u32,
            scale: self.scale() as f32,
            prefix: self.prefix as u32,
        }
    }

    /// The plan of a kernel whose workgroups own a block of tokens and meet all tokens or keys tile by tile; see
    /// `lib/score_tile.wgsl`.
    pub fn plan(&self, caps: &Caps, shader: &'static str, work: Division, flags: &[(&'static str, bool)]) -> Plan {
        let quads = self.dim / 4;
        let Division { results, rows: own, quads: per_thread, kept } = work;
        let cols = quads.div_ceil(per_thread).max(4);
        // Quads of a row between two barriers. Where threads have few sums, short heads wait whole: compilers unroll two
        // chunks into too many registers.
        let depth = if own == 1 && quads <= 8 { quads } else { quads.min(4) };
        let bytes = |rows: usize| {
            let tiles = 4 * own * rows * depth + cols * (4 * depth).max(cols * per_thread);
            16 * (tiles + own * rows * (cols + kept))
        };
        // Lanes that subgroups of 32 occupy; a block's loads of the other tokens cost as much as 16 tokens more.
        let cost = |rows: usize| {
            let lanes = self.tokens.div_ceil(4 * own * rows) * (rows * cols).next_multiple_of(32);
            (lanes * (own * rows + 4) * 256) / rows
        };
        let memory = (20 << 10).min(caps.workgroup_memory as usize);
        let threads = 256.min(caps.max_invocations as usize);
        let fitting = (1..=threads / cols).filter(|&rows| bytes(rows) <= memory);
        let rows = fitting.min_by_key(|&rows| cost(rows)).unwrap_or(1);
        let number = |name, x: usize| (name, Constant::U32(x as u32));
        let mut constants = vec![number("COLS", cols), number("D4", quads), number("DEPTH", depth)];
        constants.extend([number("DN", per_thread), number("RN", own), number("ROWS", rows)]);
        constants.extend(flags.iter().map(|&(name, on)| (name, Constant::Flag(on))));
        Plan {
            shader,
            constants,
            workgroup: (rows * cols) as u32,
            shared_bytes: bytes(rows) as u32,
            groups: grid(results * self.batch * self.heads * self.tokens.div_ceil(4 * own * rows), caps),
        }
    }

    /// The plan for software devices, where all lanes should read one address: lanes own one to three tokens each. More
    /// leave their sums no registers.
    pub fn rows_plan(&self, caps: &Caps, shader: &'static str, flags: &[(&'static str, bool)]) -> Plan {
        const WG: usize = 8;
        let blocks = |rows: usize| self.tokens.div_ceil(WG * rows);
        // Three tokens take 1.3 times as long as two.
        let rows = (1..=3).min_by_key(|&rows| blocks(rows) * (4 + 3 * rows)).unwrap_or(1);
        let number = |name, x: usize| (name, Constant::U32(x as u32));
        let mut constants = vec![number("D4", self.dim / 4), number("ROWS", rows), number("WG", WG)];
        constants.extend(flags.iter().map(|&(name, on)| (name, Constant::Flag(on))));
        Plan {
            shader,
            constants,
            workgroup: WG as u32,
            shared_bytes: 0,
            groups: grid(self.batch * self.heads * blocks(rows), caps),
        }
    }
}
