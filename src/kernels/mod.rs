//! One file per kernel: typed params, shape check, plan and bindings. What it computes stands in its doc comment,
//! its shader (`shaders/NAME.wgsl`) and its twin (`src/cpu/NAME.rs`).

pub mod activation_backward;
pub mod adamw;
pub mod add;
pub mod argmax;
pub mod attention;
pub mod attention_backward_key;
pub mod attention_backward_query;
pub mod cholesky;
pub mod cholesky_block;
pub mod class_token;
pub mod class_token_backward;
pub mod column_sum;
pub mod cross_entropy;
pub mod fma_chains;
pub mod gemm;
pub mod label_sum;
pub mod layernorm;
pub mod layernorm_backward;
pub mod mixture;
pub mod mixture_backward;
pub mod noise;
pub mod noise_combine;
pub mod noise_mix;
pub mod noise_mix_backward;
pub mod patch_embed;
pub mod philox_normal;
pub mod sgd;
pub mod split_gemm;
pub mod stream_copy;
pub mod triangular_rows;
