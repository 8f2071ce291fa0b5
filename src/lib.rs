//! MiN (mixture of noise) for class-incremental learning, on hand-written WGSL kernels.

pub mod error;

pub use error::{Error, Result};
