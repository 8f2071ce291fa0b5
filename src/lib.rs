//! MiN (mixture of noise) for class-incremental learning, on hand-written WGSL kernels.

pub mod data;
pub mod error;
pub mod protocol;

pub use error::{Error, Result};
