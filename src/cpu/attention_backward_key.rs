//! Twin of `attention_backward_key`: the score matrix of one head is rebuilt from q, k and lse.

use rayon::prelude::*;

use super::attention::{Head, head_blocks, store};
use super::attention_backward_query::score_gradients;
use crate::device::{Io, Real, Twin};
use crate::kernels::attention::Sizes;
use crate::kernels::attention_backward_key::{AttentionBackwardKey, Keys};

impl Twin for AttentionBackwardKey<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let sizes = self.sizes();
        let (qkv, prefixed) = (io.real(0), matches!(self.keys, Keys::Prefix { .. }));
        let prefix = prefixed.then(|| io.real(1));
        let [dy, lse, delta] = [1, 2, 3].map(|i| io.real(i + usize::from(prefixed)));
        let [gradient] = io.outs();
        let (n, keys) = (sizes.tokens, self.owned().tokens);
        let zeros = |len| vec![R::default(); len];
        let scratch = || (zeros(n * keys), zeros(n * keys), zeros(keys * sizes.dim));
        // Of every image first the queries of all heads, which a prefix has not, then the keys, then the values.
        let blocks = if prefixed { Sizes { batch: 2 * sizes.batch, ..self.owned() } } else { sizes };
        let mut places = head_blocks(blocks, gradient).into_iter();
        let mut part = || places.by_ref().take(sizes.heads).collect::<Vec<_>>();
        let mut parts = Vec::new();
        for _ in 0..sizes.batch {
            if !prefixed {
                part();
            }
            let (dk, dv) = (part(), part());
            parts.extend(dk.into_iter().zip(dv));
        }
        Head::all(sizes).zip(parts).for_each_init(scratch, |(p, ds, rows), (head, (mut dk, mut dv))| {
            let [k, v] = [0, 1].map(|part| match prefix {
                Some(prefix) => head.prefix(prefix, part),
                None => head.tokens(qkv, 1 + part),
            });
            let (q, dy) = (head.tokens(qkv, 0), head.merged(dy));
            head.scores(p, q, [k], sizes.scale());
            head.scores(ds, dy, [v], 1.0);
            score_gradients(p, ds, &lse[head.score..][..n], &delta[head.score..][..n]);
            head.sum_queries(rows, ds, q, sizes.scale());
            store(&mut dk, rows);
            head.sum_queries(rows, p, dy, 1.0);
            store(&mut dv, rows);
        });
    }
}
