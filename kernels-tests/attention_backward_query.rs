//! Gradient of the queries and delta; the other columns of dqkv stay as they were.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::attention_backward_query::AttentionBackwardQuery;

use crate::attention::{Problem, examples_of, problems};
use crate::harness::{Case, Output, case, guarded, input, numbers, output, poisoned, run_planned};

fn backward(device: &Device, p: Problem) -> Result<Vec<Output>> {
    let (values, scores, wide) = ([p.rows(), p.width()], [p.scores()], [p.rows(), 3 * p.width()]);
    let r = p.reference();
    let (qkv, dy) = (input(device, &p.qkv(), &wide)?, input(device, &p.dy(), &values)?);
    let (out, lse) = (input(device, &r.out, &values)?, input(device, &r.lse, &scores)?);
    let prefix = p.prefix(device)?;
    let mut all = Vec::new();
    for on_gpu in [false, true] {
        let delta = poisoned(device, &scores)?;
        let before = numbers(3, wide[0] * wide[1]);
        let dqkv = guarded(device, &before, &wide)?;
        let kernel = AttentionBackwardQuery {
            qkv: &qkv,
            prefix: prefix.as_ref(),
            out: &out,
            dy: &dy,
            lse: &lse,
            delta: &delta,
            dqkv: &dqkv,
            batch: p.batch,
            tokens: p.tokens,
            heads: p.heads,
        };
        run_planned(device, kernel, on_gpu)?;
        let wide_delta = r.wide_delta.clone();
        all.push(output("delta", delta, r.delta_bound.clone()).naive(|| wide_delta));
        all.push(r.dqkv(dqkv, 0..1, &before));
    }
    Ok(all)
}

pub fn cases() -> Vec<Case> {
    let name = |p: &Problem| p.name("attention_backward_query");
    problems().into_iter().map(|p| case(name(&p), move |d| backward(d, p))).collect()
}

pub fn examples(device: &Device) -> Result<()> {
    examples_of(|p| backward(device, p))
}
