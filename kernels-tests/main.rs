//! Kernel tests: every case runs on the CPU device and on every GPU adapter of this machine, and is judged by the
//! same twin in f64. A machine without an adapter lists the GPU cases as ignored: not run, not passed.
//!
//! `MINOISE_TEST_DEVICE="vulkan llvmpipe"` restricts the adapters to those whose label has these words.

mod autograd;
mod devices;
mod golden;
mod harness;
mod memory;
mod shaders;
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
mod class_token;
mod class_token_backward;
mod column_sum;
mod column_unit;
mod cross_entropy;
mod error_free;
mod fma_chains;
mod gemm;
mod gemm_halves;
mod gram;
mod jacobi_scale;
mod label_sum;
mod layernorm;
mod layernorm_backward;
mod mean_map;
mod mean_map_backward;
mod mixture;
mod mixture_backward;
mod noise_combine;
mod noise_mix;
mod noise_mix_backward;
mod pair_product;
mod patch_embed;
mod philox_normal;
mod ridge;
mod scale_columns;
mod scaled_tile;
mod sgd;
mod stream_copy;
mod triangular_rows;

use harness::Case;
use minoise::device::{Device, Precision};

fn main() {
    let devices = harness::devices();
    let cases = MODULES.iter().flat_map(|m| m.0()).collect();
    let mut trials = shaders::trials(MODULES.iter().map(|m| m.1).collect());
    trials.extend(autograd::trials(&devices));
    trials.extend(devices::trials(&devices));
    trials.extend(memory::trials(&devices));
    let oracle = Device::cpu(Precision::F64);
    trials.extend(golden::trials(&devices, &oracle));
    trials.extend(statistics::trials(&devices, &oracle));
    harness::run(cases, &devices, trials);
}

/// Cases of every kernel, and one run of each of its variants for the checks that need no device.
const MODULES: &[(fn() -> Vec<Case>, harness::Example)] = &[
    (activation_backward::cases, activation_backward::examples),
    (adamw::cases, adamw::examples),
    (add::cases, add::examples),
    (argmax::cases, argmax::examples),
    (attention::cases, attention::examples),
    (attention_backward_key::cases, attention_backward_key::examples),
    (attention_backward_query::cases, attention_backward_query::examples),
    (cg_direction::cases, cg_direction::examples),
    (cg_step::cases, cg_step::examples),
    (cholesky::cases, cholesky::examples),
    (cholesky_block::cases, cholesky_block::examples),
    (class_token::cases, class_token::examples),
    (class_token_backward::cases, class_token_backward::examples),
    (column_sum::cases, column_sum::examples),
    (column_unit::cases, column_unit::examples),
    (cross_entropy::cases, cross_entropy::examples),
    (error_free::cases, error_free::examples),
    (fma_chains::cases, fma_chains::examples),
    (gemm::cases, gemm::examples),
    (gram::cases, gram::examples),
    (jacobi_scale::cases, jacobi_scale::examples),
    (gemm_halves::cases, gemm_halves::examples),
    (label_sum::cases, label_sum::examples),
    (layernorm::cases, layernorm::examples),
    (layernorm_backward::cases, layernorm_backward::examples),
    (mean_map::cases, mean_map::examples),
    (mean_map_backward::cases, mean_map_backward::examples),
    (mixture::cases, mixture::examples),
    (mixture_backward::cases, mixture_backward::examples),
    (noise_combine::cases, noise_combine::examples),
    (noise_mix::cases, noise_mix::examples),
    (noise_mix_backward::cases, noise_mix_backward::examples),
    (pair_product::cases, pair_product::examples),
    (patch_embed::cases, patch_embed::examples),
    (philox_normal::cases, philox_normal::examples),
    (ridge::cases, ridge::examples),
    (scale_columns::cases, scale_columns::examples),
    (scaled_tile::cases, scaled_tile::examples),
    (sgd::cases, sgd::examples),
    (stream_copy::cases, stream_copy::examples),
    (triangular_rows::cases, triangular_rows::examples),
];
