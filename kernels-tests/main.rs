//! Kernel tests: every case runs on the CPU device and on every GPU adapter of this machine, and is judged by the
//! same twin in f64. A machine without an adapter lists the GPU cases as ignored: not run, not passed.
//!
//! `MINOISE_TEST_DEVICE="vulkan llvmpipe"` restricts the adapters to those whose label has these words,
//! `MINOISE_TEST_CASES=20` runs no more cases of each kernel, spread over all; `MINOISE_TEST_REPORT=FILE` writes what ran.

mod autograd;
mod devices;
mod emit;
mod golden;
mod harness;
mod memory;
mod optimizer;
mod pipelines;
mod plans;
mod queue;
mod report;
mod rooms;
mod shaders;
mod short_run;
mod soundness;
mod statistics;

mod activation_backward;
mod adamw;
mod add;
mod argmax;
mod attention;
mod attention_backward_key;
mod attention_backward_query;
mod cg_direction;
mod cg_step;
mod cholesky;
mod cholesky_block;
mod clip_factor;
mod column_sum;
mod column_unit;
mod copy_block;
mod cross_entropy;
mod dropout;
mod error_free;
mod fma_chains;
mod gemm;
mod gemm_halves;
mod glu;
mod glu_backward;
mod gram;
mod inner_product;
mod jacobi_scale;
mod label_sum;
mod layernorm;
mod layernorm_backward;
mod mean_map;
mod mean_map_backward;
mod mixture;
mod mixture_backward;
mod multiply;
mod noise_combine;
mod noise_mix;
mod noise_mix_backward;
mod normalise;
mod pack_halves;
mod pair_product;
mod patch_embed;
mod philox_normal;
mod quarter_turn;
mod ridge;
mod root_ratio;
mod root_ratio_backward;
mod rotary;
mod row_unit;
mod row_unit_backward;
mod scale_columns;
mod scaled_tile;
mod sgd;
mod square_sum;
mod stream_copy;
mod tanh;
mod token_mean;
mod token_mean_backward;
mod top_k;
mod triangular_rows;
mod unfold;
mod unpack_halves;

use harness::{Case, Example};
use minoise::device::{Device, Precision};

fn main() {
    let devices = harness::devices();
    let cases = MODULES.iter().map(|m| (m.0, m.1())).collect();
    let examples: Vec<_> = MODULES.iter().map(|m| (m.0, m.2)).collect();
    let mut trials = shaders::trials(examples.iter().map(|e| e.1).collect());
    trials.extend(pipelines::trials(&devices, &examples));
    let most = std::env::var("MINOISE_TEST_CASES").ok();
    let most = most.map(|n| n.parse().expect("MINOISE_TEST_CASES is a number"));
    // What runs on no device has nothing to sample.
    if most.is_none() {
        trials.extend(rooms::trials());
        trials.extend(plans::trials());
    }
    trials.extend(autograd::trials(&devices));
    trials.extend(devices::trials(&devices));
    trials.extend(memory::trials(&devices));
    trials.extend(optimizer::trials(&devices));
    trials.extend(queue::trials(&devices));
    let oracle = Device::cpu(Precision::F64);
    trials.extend(golden::trials(&devices, &oracle));
    trials.extend(statistics::trials(&devices, &oracle));
    trials.extend(short_run::trials(&devices, &oracle, most.is_none()));
    harness::run(cases, most.unwrap_or(usize::MAX), &devices, trials);
}

macro_rules! table {
    ($($kernel:ident),* $(,)?) => { &[$((stringify!($kernel), $kernel::cases, $kernel::examples)),*] };
}

/// Cases of every kernel, and one run of each of its variants for the checks that need no device.
const MODULES: &[(&str, fn() -> Vec<Case>, Example)] = table![
    activation_backward,
    adamw,
    add,
    argmax,
    attention,
    attention_backward_key,
    attention_backward_query,
    cg_direction,
    cg_step,
    cholesky,
    cholesky_block,
    clip_factor,
    column_sum,
    column_unit,
    copy_block,
    cross_entropy,
    dropout,
    error_free,
    fma_chains,
    gemm,
    glu,
    glu_backward,
    gram,
    inner_product,
    jacobi_scale,
    gemm_halves,
    label_sum,
    layernorm,
    layernorm_backward,
    mean_map,
    mean_map_backward,
    mixture,
    mixture_backward,
    multiply,
    noise_combine,
    noise_mix,
    noise_mix_backward,
    normalise,
    pack_halves,
    pair_product,
    patch_embed,
    philox_normal,
    quarter_turn,
    ridge,
    root_ratio,
    root_ratio_backward,
    rotary,
    row_unit,
    row_unit_backward,
    scale_columns,
    scaled_tile,
    sgd,
    square_sum,
    stream_copy,
    tanh,
    token_mean,
    token_mean_backward,
    top_k,
    triangular_rows,
    unfold,
    unpack_halves,
];
