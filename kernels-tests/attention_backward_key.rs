//! Gradients of keys and values; the q columns of dqkv stay as they were.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::attention_backward_key::AttentionBackwardKey;

use crate::attention::{PROBLEMS, Problem};
use crate::harness::{Case, Output, case, guarded, input, numbers, run_planned};

fn backward(device: &Device, p: Problem) -> Result<Vec<Output>> {
    let (values, scores, wide) = ([p.rows(), p.width()], [p.scores()], [p.rows(), 3 * p.width()]);
    let r = p.reference();
    let (qkv, dy) = (input(device, &p.qkv(), &wide)?, input(device, &p.dy(), &values)?);
    let (lse, delta) = (input(device, &r.lse, &scores)?, input(device, &r.delta, &scores)?);
    let mut all = Vec::new();
    for on_gpu in [false, true] {
        let before = numbers(3, wide[0] * wide[1]);
        let dqkv = guarded(device, &before, &wide)?;
        let kernel = AttentionBackwardKey {
            qkv: &qkv,
            dy: &dy,
            lse: &lse,
            delta: &delta,
            dqkv: &dqkv,
            batch: p.batch,
            tokens: p.tokens,
            heads: p.heads,
        };
        run_planned(device, kernel, on_gpu)?;
        all.push(r.dqkv(dqkv, 1..3, &before));
    }
    Ok(all)
}

pub fn cases() -> Vec<Case> {
    let name = |p: &Problem| p.name("attention_backward_key");
    PROBLEMS.iter().map(|&p| case(name(&p), move |d| backward(d, p))).collect()
}

pub fn examples(device: &Device) -> Result<()> {
    PROBLEMS[..17].iter().try_for_each(|&p| backward(device, p).map(drop))
}
