//! Host programs made of several kernels.

pub mod cholesky;
pub mod exact_pairs;
pub mod noise;
pub mod ridge;
mod split_gemm;
pub mod tiles;
