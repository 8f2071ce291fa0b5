//! The twins: every kernel once more in plain Rust, generic over precision. In f64 they judge the kernels, in f32
//! they are the CPU device.

/// Runs a block compiled for the widest vectors of this machine. That reaches only what is inlined: `for` loops and
/// functions marked so, not the closures of iterator adapters.
macro_rules! vectorise {
    ($work:expr) => {{
        let once = crate::cpu::Once;
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                // Without something to consume, the closure is called through a shim that is not inlined.
                let _once = once;
                $work
            },
        )
    }};
}

/// What a closure consumes that can be called only once.
struct Once;

pub mod activation;
pub mod activation_backward;
pub mod adamw;
pub mod add;
pub mod argmax;
pub mod attention;
pub mod attention_backward_key;
pub mod attention_backward_query;
mod block;
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
pub mod philox;
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

use std::ops::Range;

use crate::device::Real;
use block::BlockMut;

/// `(s, e)` with `s = fl(a + b)` and `s + e = a + b` (Knuth, The Art of Computer Programming 2, 4.2.2).
#[inline(always)]
fn two_sum<R: Real>(a: R, b: R) -> (R, R) {
    let s = a + b;
    let t = s - a;
    (s, (a - (s - t)) + (b - t))
}

/// `x` as a pair of numbers whose sum it is.
#[inline(always)]
fn pair<R: Real>(x: f64) -> (R, R) {
    let high = R::of(x);
    (high, R::of(x - high.get()))
}

/// Splits `0..n` into blocks of at most `size`, the same on every run.
pub fn blocks(n: usize, size: usize) -> Vec<Range<usize>> {
    (0..n.div_ceil(size)).map(|i| i * size..n.min((i + 1) * size)).collect()
}
