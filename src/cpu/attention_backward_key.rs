//! Twin of `attention_backward_key`: the score matrix of one head is rebuilt from q, k and lse.

use rayon::prelude::*;

use super::attention::{Head, head_blocks, store};
use super::attention_backward_query::score_gradients;
use crate::device::{Io, Real, Twin};
use crate::kernels::attention_backward_key::AttentionBackwardKey;

impl Twin for AttentionBackwardKey<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let sizes = self.sizes();
        let [qkv, dy, lse, delta] = [0, 1, 2, 3].map(|i| io.real(i));
        let [dqkv] = io.outs();
        let (n, width) = (sizes.tokens, sizes.width());
        let zeros = |len| vec![R::default(); len];
        let scratch = || (zeros(n * n), zeros(n * n), zeros(n * sizes.dim));
        // Of every image first the queries of all heads, then the keys, then the values.
        let mut places = head_blocks(sizes, dqkv).into_iter();
        let mut parts = Vec::new();
        for _ in 0..sizes.batch {
            let [_, dk, dv] = [0; 3].map(|_| places.by_ref().take(sizes.heads).collect::<Vec<_>>());
            parts.extend(dk.into_iter().zip(dv));
        }
        Head::all(sizes).zip(parts).for_each_init(scratch, |(p, ds, rows), (head, (mut dk, mut dv))| {
            let [q, k, v] = [0, 1, 2].map(|part| (&qkv[head.at(part)..], 3 * width));
            let dy = (&dy[head.row * width + head.col..], width);
            head.scores(p, q, k, sizes.scale());
            head.scores(ds, dy, v, 1.0);
            score_gradients(p, ds, &lse[head.score..][..n], &delta[head.score..][..n]);
            head.combine(rows, (ds, true), q, sizes.scale());
            store(&mut dk, rows);
            head.combine(rows, (p, true), dy, 1.0);
            store(&mut dv, rows);
        });
    }
}
