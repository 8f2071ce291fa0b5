//! MiN (mixture of noise) for class-incremental learning, on hand-written WGSL kernels.

pub mod cpu;
pub mod device;
pub mod error;
pub mod kernels;

pub use error::{Error, Result};
