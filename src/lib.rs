//! MiN (mixture of noise) for class-incremental learning, on hand-written WGSL kernels.

pub mod autograd;
pub mod cpu;
pub mod device;
pub mod error;
pub mod kernels;
pub mod method;
pub mod model;

pub use error::{Error, Result};
