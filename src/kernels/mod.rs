//! One file per kernel: typed params, shape check, plan and bindings. What it computes stands in its doc comment,
//! its shader (`shaders/NAME.wgsl`) and its twin (`src/cpu/NAME.rs`).

/// What kernels with a shader for each [`Form`](crate::device::Form) have in common.
macro_rules! varied_by_form {
    () => {
        type Variant = crate::device::Form;

        fn all() -> Vec<Self::Variant> {
            crate::device::Form::ALL.into()
        }

        fn cost(&self, form: Self::Variant, caps: &crate::device::Caps) -> Option<f64> {
            form.cost(caps)
        }
    };
}

pub mod activation_backward;
pub mod adamw;
pub mod add;
pub mod argmax;
pub mod attention;
pub mod attention_backward_key;
pub mod attention_backward_query;
pub mod cg_direction;
pub mod cg_step;
pub mod cholesky_block;
pub mod clip_factor;
pub mod column_sum;
pub mod column_unit;
pub mod copy_block;
pub mod cross_entropy;
pub mod dropout;
pub mod error_free;
pub mod fma_chains;
pub mod gemm;
pub mod glu;
pub mod glu_backward;
pub mod gram;
pub mod inner_product;
pub mod jacobi_scale;
pub mod label_sum;
pub mod layernorm;
pub mod layernorm_backward;
pub mod mean_map;
pub mod mean_map_backward;
pub mod mixture;
pub mod mixture_backward;
pub mod multiply;
pub mod noise_combine;
pub mod noise_mix;
pub mod noise_mix_backward;
pub mod normalise;
pub mod pack_halves;
pub mod pair_product;
pub mod patch_embed;
pub mod philox_normal;
pub mod quarter_turn;
pub mod root_ratio;
pub mod root_ratio_backward;
pub mod rotary;
pub mod row_unit;
pub mod row_unit_backward;
pub mod scale_columns;
pub mod scaled_tile;
pub mod sgd;
pub mod square_sum;
pub mod stream_copy;
pub mod tanh;
pub mod token_mean;
pub mod token_mean_backward;
pub mod top_k;
pub mod triangular_rows;
pub mod unfold;
pub mod unpack_halves;
