//! Gradients of keys and values, those of the tokens and those of a prefix; the q columns of dqkv stay as they were.

use minoise::Result;
use minoise::device::Device;
use minoise::kernels::attention_backward_key::{AttentionBackwardKey, Keys};

use crate::attention::{Problem, examples_of, problems};
use crate::harness::{Case, Output, case, guarded, input, numbers, output, poisoned, run_planned};

fn backward(device: &Device, p: Problem) -> Result<Vec<Output>> {
    let (values, scores, wide) = ([p.rows(), p.width()], [p.scores()], [p.rows(), 3 * p.width()]);
    let r = p.reference();
    let (qkv, dy) = (input(device, &p.qkv(), &wide)?, input(device, &p.dy(), &values)?);
    let (lse, delta) = (input(device, &r.lse, &scores)?, input(device, &r.delta, &scores)?);
    let prefix = p.prefix(device)?;
    let mut all = Vec::new();
    for on_gpu in [false, true] {
        let before = numbers(3, wide[0] * wide[1]);
        let dqkv = guarded(device, &before, &wide)?;
        let kernel = AttentionBackwardKey {
            qkv: &qkv,
            dy: &dy,
            lse: &lse,
            delta: &delta,
            keys: Keys::Tokens { dqkv: &dqkv },
            batch: p.batch,
            tokens: p.tokens,
            heads: p.heads,
        };
        run_planned(device, kernel, on_gpu)?;
        if let Some(prefix) = &prefix {
            let dprefix = poisoned(device, &p.prefix_shape())?;
            let keys = Keys::Prefix { prefix, dprefix: &dprefix };
            run_planned(device, AttentionBackwardKey { keys, ..kernel }, on_gpu)?;
            let naive = r.dprefix.clone();
            all.push(output("dprefix", dprefix, r.dprefix_bound.clone()).naive(|| naive));
        }
        all.push(r.dqkv(dqkv, 1..3, &before));
    }
    Ok(all)
}

pub fn cases() -> Vec<Case> {
    let name = |p: &Problem| p.name("attention_backward_key");
    problems().into_iter().map(|p| case(name(&p), move |d| backward(d, p))).collect()
}

pub fn examples(device: &Device) -> Result<()> {
    examples_of(|p| backward(device, p))
}
