//! Twin of `attention_backward_key`: the score matrix of one head is rebuilt from q, k and lse.

use rayon::prelude::*;

use super::SharedMut;
use super::attention::Head;
use super::attention_backward_query::score_gradients;
use crate::device::{Io, Real, Twin};
use crate::kernels::attention_backward_key::AttentionBackwardKey;

impl Twin for AttentionBackwardKey<'_> {
    fn twin<R: Real>(&self, io: Io<'_, R>) {
        let sizes = self.sizes();
        let [qkv, dy, lse, delta] = [0, 1, 2, 3].map(|i| io.real(i));
        let [dqkv] = io.outs().map(SharedMut::new);
        let (n, width) = (sizes.tokens, sizes.width());
        let zeros = |len| vec![R::default(); len];
        let scratch = || (zeros(n * n), zeros(n * n), zeros(n * sizes.dim));
        Head::all(sizes).for_each_init(scratch, |(p, ds, rows), head| {
            let [q, k, v] = [0, 1, 2].map(|part| (&qkv[head.at(part)..], 3 * width));
            let dy = (&dy[head.row * width + head.col..], width);
            head.scores(p, q, k, sizes.scale());
            head.scores(ds, dy, v, 1.0);
            score_gradients(p, ds, &lse[head.score..][..n], &delta[head.score..][..n]);
            let parts = [(1, (&ds[..], true), q, sizes.scale()), (2, (&p[..], true), dy, 1.0)];
            for (part, weights, values, alpha) in parts {
                head.combine(rows, weights, values, alpha);
                // SAFETY: heads own disjoint columns of the k and v parts of `dqkv`.
                unsafe { head.store(&dqkv, head.at(part), 3 * width, rows) };
            }
        });
    }
}
