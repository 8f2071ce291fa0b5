//! Host programs made of several kernels.

pub mod cholesky;
pub mod drift;
pub mod exact_pairs;
pub mod noise;
pub mod products;
pub mod ridge;
mod split_gemm;
pub mod tiles;
