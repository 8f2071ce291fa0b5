//! Twin of `attention`: exact softmax, one (image, head) at a time with its score matrix in cache.

use faer::Accum;
use rayon::prelude::*;

use super::BlockMut;
use crate::device::{Io, Out, Real, Twin};
use crate::kernels::attention::{Attention, Sizes};
use crate::linalg::{matrix, matrix_mut, product};

/// Independent partial results of a reduction, so that it runs in vector registers.
const LANES: usize = 16;

#[inline(always)]
pub(super) fn lanes<R: Real>(row: &[R], start: R, step: impl Fn(R, R) -> R) -> R {
    let mut partial = [start; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (p, x) in partial.iter_mut().zip(chunk) {
            *p = step(*p, *x);
        }
    }
    for (p, x) in partial.iter_mut().zip(rest) {
        *p = step(*p, *x);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            partial[i] = step(partial[i], partial[i + width]);
        }
        width /= 2;
    }
    partial[0]
}

/// Replaces every row of scores by its softmax and writes its log-sum-exp.
#[inline(always)]
fn softmax<R: Real>(scores: &mut [R], lse: &mut [R]) {
    let keys = scores.len() / lse.len();
    for (row, lse) in scores.chunks_exact_mut(keys).zip(lse) {
        let highest = lanes(row, row[0], |a, b| if b > a { b } else { a });
        for x in row.iter_mut() {
            *x = Real::exp(*x - highest);
        }
        let sum = lanes(row, R::of(0.0), |a, b| a + b);
        let inverse = R::of(1.0) / sum;
        for x in row {
            *x *= inverse;
        }
        *lse = highest + Real::ln(sum);
    }
}

/// Rows of one head that stand in one tensor.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, R> {
    pub count: usize,
    /// The first row, and what follows.
    pub from: &'a [R],
    /// Elements from one row to the next.
    pub ld: usize,
}

/// Where the rows of one head of one image stand.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub sizes: Sizes,
    pub image: usize,
    /// First row of the image.
    pub row: usize,
    /// First column of the head inside q, k, v, out or dy.
    pub col: usize,
    /// First element of the head in lse and delta.
    pub score: usize,
}

impl Head {
    /// All heads of all images.
    pub fn all(sizes: Sizes) -> impl IndexedParallelIterator<Item = Self> {
        let heads = if sizes.tokens == 0 { 0 } else { sizes.batch * sizes.heads };
        (0..heads).into_par_iter().map(move |i| Self {
            sizes,
            image: i / sizes.heads,
            row: i / sizes.heads * sizes.tokens,
            col: i % sizes.heads * sizes.dim,
            score: i * sizes.tokens,
        })
    }

    /// q, k or v (part 0, 1, 2) of the tokens.
    pub fn tokens<'a, R>(&self, qkv: &'a [R], part: usize) -> Rows<'a, R> {
        let width = self.sizes.width();
        let at = (self.row * 3 + part) * width + self.col;
        Rows { count: self.sizes.tokens, from: &qkv[at..], ld: 3 * width }
    }

    /// The tokens' rows of out or dy.
    pub fn merged<'a, R>(&self, x: &'a [R]) -> Rows<'a, R> {
        let width = self.sizes.width();
        Rows { count: self.sizes.tokens, from: &x[self.row * width + self.col..], ld: width }
    }

    /// Keys (part 0) or values of a prefix.
    pub fn prefix<'a, R>(&self, prefix: &'a [R], part: usize) -> Rows<'a, R> {
        let (count, width) = (self.sizes.prefix, self.sizes.width());
        Rows { count, from: &prefix[(self.image * 2 + part) * count * width + self.col..], ld: width }
    }

    /// All keys (part 0) or values: those of a prefix, then those of the tokens.
    pub fn keys<'a, R>(
        &self,
        prefix: Option<&'a [R]>,
        qkv: &'a [R],
        part: usize,
    ) -> impl Iterator<Item = Rows<'a, R>> + use<'a, R> {
        let tokens = self.tokens(qkv, 1 + part);
        prefix.map(|prefix| self.prefix(prefix, part)).into_iter().chain([tokens])
    }

    /// `scores = alpha a b^T`, a [tokens, dim] and b [keys, dim], the rows of which may stand in several tensors.
    pub fn scores<'a, R: Real>(
        &self,
        scores: &mut [R],
        a: Rows<'_, R>,
        b: impl IntoIterator<Item = Rows<'a, R>>,
        alpha: f64,
    ) {
        let (n, dim) = (self.sizes.tokens, self.sizes.dim);
        let (keys, mut at) = (scores.len() / n, 0);
        for Rows { count, from, ld } in b {
            let (a, b) = (matrix(a.from, n, dim, a.ld), matrix(from, count, dim, ld).transpose());
            product(matrix_mut(&mut scores[at..], n, count, keys), Accum::Replace, a, b, R::of(alpha));
            at += count;
        }
    }

    /// `out = alpha w b`, w [tokens, keys] and b [keys, dim] as above, out [tokens, dim].
    pub fn sum_keys<'a, R: Real>(&self, out: &mut [R], w: &[R], b: impl IntoIterator<Item = Rows<'a, R>>, alpha: f64) {
        let (n, dim) = (self.sizes.tokens, self.sizes.dim);
        let (keys, mut at) = (w.len() / n, 0);
        for Rows { count, from, ld } in b {
            let accum = if at == 0 { Accum::Replace } else { Accum::Add };
            let (w, b) = (matrix(&w[at..], n, count, keys), matrix(from, count, dim, ld));
            product(matrix_mut(out, n, dim, dim), accum, w, b, R::of(alpha));
            at += count;
        }
    }

    /// `out = alpha w^T b`, w [tokens, keys], b [tokens, dim], out [keys, dim].
    pub fn sum_queries<R: Real>(&self, out: &mut [R], w: &[R], b: Rows<'_, R>, alpha: f64) {
        let (n, dim) = (self.sizes.tokens, self.sizes.dim);
        let keys = w.len() / n;
        let (w, b) = (matrix(w, n, keys, keys).transpose(), matrix(b.from, n, dim, b.ld));
        product(matrix_mut(out, keys, dim, dim), Accum::Replace, w, b, R::of(alpha));
    }
}

/// The places of all heads of all images in x [batch * tokens, parts * heads * dim], those of a head for each part.
pub(super) fn head_blocks<R>(sizes: Sizes, x: &mut [R]) -> Vec<BlockMut<'_, R>> {
    let width = x.len() / sizes.rows().max(1);
    let images = BlockMut::new(x, [sizes.rows(), width], width).split_rows(sizes.tokens);
    images.flat_map(|image| image.split_cols(sizes.dim)).collect()
}

/// Writes `rows` [tokens, dim] or [keys, dim] to a head's place.
pub(super) fn store<R: Real>(to: &mut BlockMut<'_, R>, rows: &[R]) {
    for i in 0..to.rows() {
        let row = to.row(i);
        row.copy_from_slice(&rows[i * row.len()..][..row.len()]);
    }
}

impl Twin for Attention<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let sizes = self.sizes();
        let (qkv, prefix) = (io.real(0), self.prefix.map(|_| io.real(1)));
        let mut outs = io.outs.into_iter().map(|o| match o {
            Out::Real(x) => x,
            Out::U32(_) => unreachable!("attention writes reals"),
        });
        let (out, lse) = (outs.next().expect("out"), outs.next().unwrap_or_default());
        let n = sizes.tokens;
        let zeros = |len| vec![R::default(); len];
        let scratch = || (zeros(n * sizes.keys()), zeros(n), zeros(n * sizes.dim));
        if n == 0 {
            return;
        }
        // Without log-sum-exps every head has an empty place for them.
        let lse = lse.chunks_mut(n).chain(std::iter::repeat_with(<&mut [R]>::default));
        let places: Vec<_> = head_blocks(sizes, out).into_iter().zip(lse).collect();
        Head::all(sizes).zip(places).for_each_init(scratch, |(p, row_lse, rows), (head, (mut out, lse))| {
            head.scores(p, head.tokens(qkv, 0), head.keys(prefix, qkv, 0), sizes.scale());
            vectorise!(softmax(p, row_lse));
            head.sum_keys(rows, p, head.keys(prefix, qkv, 1), 1.0);
            store(&mut out, rows);
            let kept = lse.len();
            lse.copy_from_slice(&row_lse[..kept]);
        });
    }
}
