//! Twin of `attention_backward_query`: the score matrix of one head is rebuilt from q, k and lse.

use rayon::prelude::*;

use super::attention::{Head, head_blocks, lanes, store};
use crate::device::{Io, Real, Twin};
use crate::kernels::attention_backward_query::AttentionBackwardQuery;

/// The score gradients of one head: turns scores into probabilities in `p` and `dp = dy v^T` into
/// `ds = p (dp - delta)`.
pub(super) fn score_gradients<R: Real>(p: &mut [R], ds: &mut [R], lse: &[R], delta: &[R]) {
    let keys = p.len() / lse.len();
    vectorise!({
        let rows = p.chunks_exact_mut(keys).zip(ds.chunks_exact_mut(keys));
        for ((p, ds), (lse, delta)) in rows.zip(lse.iter().zip(delta)) {
            for (p, ds) in p.iter_mut().zip(ds) {
                *p = Real::exp(*p - *lse);
                *ds = *p * (*ds - *delta);
            }
        }
    });
}

impl Twin for AttentionBackwardQuery<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let sizes = self.sizes();
        let (qkv, prefix) = (io.real(0), self.prefix.map(|_| io.real(1)));
        let [dy, lse, out] = [1, 2, 3].map(|i| io.real(i + usize::from(prefix.is_some())));
        let [delta, dqkv] = io.outs();
        let (n, width) = (sizes.tokens, sizes.width());
        let zeros = |len| vec![R::default(); len];
        let scratch = || (zeros(n * sizes.keys()), zeros(n * sizes.keys()), zeros(n * sizes.dim));
        if n == 0 {
            return;
        }
        // Of every image the queries of all heads come before keys and values.
        let dq = head_blocks(sizes, dqkv).into_iter().enumerate();
        let dq = dq.filter(|(i, _)| i % (3 * sizes.heads) < sizes.heads).map(|(_, block)| block);
        let places: Vec<_> = dq.zip(delta.chunks_mut(n)).collect();
        Head::all(sizes).zip(places).for_each_init(scratch, |(p, ds, rows), (head, (mut dq, delta))| {
            let first = head.row * width + head.col;
            for (i, delta) in delta.iter_mut().enumerate() {
                let at = first + i * width;
                rows[..sizes.dim].iter_mut().zip(&dy[at..]).zip(&out[at..]).for_each(|((x, a), b)| *x = *a * *b);
                *delta = lanes(&rows[..sizes.dim], R::of(0.0), |a, b| a + b);
            }
            head.scores(p, head.tokens(qkv, 0), head.keys(prefix, qkv, 0), sizes.scale());
            head.scores(ds, head.merged(dy), head.keys(prefix, qkv, 1), 1.0);
            score_gradients(p, ds, &lse[head.score..][..n], delta);
            head.sum_keys(rows, ds, head.keys(prefix, qkv, 0), sizes.scale());
            store(&mut dq, rows);
        });
    }
}
