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
    let tokens = lse.len();
    for (row, lse) in scores.chunks_exact_mut(tokens).zip(lse) {
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

/// Where the rows of one head of one image stand.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub sizes: Sizes,
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
            row: i / sizes.heads * sizes.tokens,
            col: i % sizes.heads * sizes.dim,
            score: i * sizes.tokens,
        })
    }

    /// Offset of q, k or v (0, 1, 2) of this head in qkv.
    pub fn at(&self, part: usize) -> usize {
        self.row * 3 * self.sizes.width() + part * self.sizes.width() + self.col
    }

    /// `scores = alpha a b^T`, a and b [tokens, dim] with row strides.
    pub fn scores<R: Real>(&self, scores: &mut [R], (a, lda): (&[R], usize), (b, ldb): (&[R], usize), alpha: f64) {
        let (n, dim) = (self.sizes.tokens, self.sizes.dim);
        let (a, b) = (matrix(a, n, dim, lda), matrix(b, n, dim, ldb).transpose());
        product(matrix_mut(scores, n, n, n), Accum::Replace, a, b, R::of(alpha));
    }

    /// `out = alpha w b`, or `alpha w^T b`; w [tokens, tokens], b and out [tokens, dim], the rows of b `ldb` apart.
    pub fn combine<R: Real>(&self, out: &mut [R], (w, transposed): (&[R], bool), (b, ldb): (&[R], usize), alpha: f64) {
        let (n, dim) = (self.sizes.tokens, self.sizes.dim);
        let w = matrix(w, n, n, n);
        let w = if transposed { w.transpose() } else { w };
        product(matrix_mut(out, n, dim, dim), Accum::Replace, w, matrix(b, n, dim, ldb), R::of(alpha));
    }
}

/// The places of all heads of all images in x [batch * tokens, parts * heads * dim], those of a head for each part.
pub(super) fn head_blocks<R>(sizes: Sizes, x: &mut [R]) -> Vec<BlockMut<'_, R>> {
    let width = x.len() / sizes.rows().max(1);
    let images = BlockMut::new(x, [sizes.rows(), width], width).split_rows(sizes.tokens);
    images.flat_map(|image| image.split_cols(sizes.dim)).collect()
}

/// Writes `rows` [tokens, dim] to a head's place.
pub(super) fn store<R: Real>(to: &mut BlockMut<'_, R>, rows: &[R]) {
    for i in 0..to.rows() {
        let row = to.row(i);
        row.copy_from_slice(&rows[i * row.len()..][..row.len()]);
    }
}

impl Twin for Attention<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let sizes = self.sizes();
        let qkv = io.real(0);
        let mut outs = io.outs.into_iter().map(|o| match o {
            Out::Real(x) => x,
            Out::U32(_) => unreachable!("attention writes reals"),
        });
        let (out, lse) = (outs.next().expect("out"), outs.next().unwrap_or_default());
        let (n, width) = (sizes.tokens, sizes.width());
        let scratch = || (vec![R::default(); n * n], vec![R::default(); n], vec![R::default(); n * sizes.dim]);
        if n == 0 {
            return;
        }
        // Without log-sum-exps every head has an empty place for them.
        let lse = lse.chunks_mut(n).chain(std::iter::repeat_with(<&mut [R]>::default));
        let places: Vec<_> = head_blocks(sizes, out).into_iter().zip(lse).collect();
        Head::all(sizes).zip(places).for_each_init(scratch, |(p, row_lse, rows), (head, (mut out, lse))| {
            let [q, k, v] = [0, 1, 2].map(|part| (&qkv[head.at(part)..], 3 * width));
            head.scores(p, q, k, sizes.scale());
            vectorise!(softmax(p, row_lse));
            head.combine(rows, (p, false), v, 1.0);
            store(&mut out, rows);
            let kept = lse.len();
            lse.copy_from_slice(&row_lse[..kept]);
        });
    }
}
